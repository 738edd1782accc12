// mem/heap_check.cc - see heap_check.h.
#include "mem/heap_check.h"

#include <algorithm>
#include <bit>
#include <mutex>

#include "mem/heap_registry.h"
#include "mem/local_heap.h"
#include "mem/page_runs.h"
#include "mem/remote_free.h"
#include "mem/segment.h"

namespace weft::mem {
namespace {

class Walk {
 public:
  Checked run() noexcept {
    heap_registry.each([&](const LocalHeap& heap) { walk_heap(heap); });
    const std::scoped_lock guard(page_runs.lock());
    const std::size_t count = segment_count.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) walk_segment(segments[i]);
    expect(broken() || active_ == 0, "L1: active slabs are those of their owners' rings", nullptr);
    expect(broken() || listed_ == 0, "L1: listed slabs are those of their owners' lists", nullptr);
    expect(broken() || full_ == 0, "L1: full slabs are in their owners' lists", nullptr);
    expect(live_ == page_runs.live_units(), "P3: units in use are as many as counted", nullptr);
    expect(dirty_ == page_runs.dirty_units(), "P2: dirty units are as many as counted", nullptr);
    std::size_t binned = 0;
    page_runs.each_free_run([&](const Descriptor& run, std::size_t bin, bool dirty) {
      ++binned;
      expect(run.kind == Kind::kFree, "what is in a bin is free", start_of(run));
      expect(PageRuns::bin_of(run.units) == bin, "a free run is in the bin of its length", start_of(run));
      expect(run.listed == dirty, "a free run is in the bins of its kind", start_of(run));
    });
    expect(binned == checked_.free_runs, "every free run is in a bin", nullptr);
    return checked_;
  }

 private:
  void expect(bool holds, const char* rule, const void* where) noexcept {
    if (holds || checked_.broken != nullptr) return;
    checked_.broken = rule;
    checked_.where = where;
  }
  bool broken() const noexcept { return checked_.broken != nullptr; }

  // A block of this slab that exists.
  static bool is_block(const Descriptor& slab, const void* block) noexcept {
    const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(block) - start_of(slab));
    const std::size_t size = kClassBytes[slab.size_class];
    return offset < slab.carved * size && offset % size == 0;
  }

  // The length of a chain of this slab's blocks, at most `most`.
  std::size_t length(const Descriptor& slab, const void* first, std::size_t most) noexcept {
    std::size_t count = 0;
    for (const void* block = first; block != nullptr && !broken(); block = link_of(const_cast<void*>(block))) {
      expect(is_block(slab, block), "a chain of a slab holds its blocks", block);
      expect(++count <= most, "a chain is not longer than the slab has blocks", block);
    }
    return count;
  }

  void walk_heap(const LocalHeap& heap) noexcept {
    if (heap.state() == HeapState::kLost) return;
    const Descriptor* last = nullptr;
    for (const Descriptor* slab = heap.full(); slab != nullptr && !broken(); last = slab, slab = slab->next) {
      expect(slab->kind == Kind::kSlab && !slab->listed && !slab->active && slab->used == slab->capacity &&
                 owner_of(*slab) == &heap,
             "L1: a slab in the list of full ones is full", start_of(*slab));
      expect(slab->prev == last, "the list of full slabs is linked both ways", start_of(*slab));
      ++full_;
    }
    for (unsigned c = 0; c < kClasses && !broken(); ++c) {
      walk_list(heap, c);
      const Descriptor* before = nullptr;
      for (const Descriptor* slab = heap.listed(c); slab != nullptr && !broken(); before = slab, slab = slab->next) {
        expect(slab->kind == Kind::kSlab && slab->listed && !slab->active,
               "L1: what is listed is a slab that is not active", start_of(*slab));
        expect(owner_of(*slab) == &heap && slab->size_class == c, "L1: a slab is listed by its owner and class",
               start_of(*slab));
        expect(slab->prev == before, "a list of slabs is linked both ways", start_of(*slab));
        ++listed_;
      }
    }
  }

  void walk_list(const LocalHeap& heap, unsigned size_class) noexcept {
    const Descriptor* newest = heap.active(size_class);
    std::size_t room = 0;
    if (newest != nullptr) {
      const Descriptor* slab = newest;
      do {
        expect(slab->active && slab->kind == Kind::kSlab && slab->size_class == size_class && owner_of(*slab) == &heap,
               "an active slab is one of its owner and class", start_of(*slab));
        expect(slab == newest || slab->carved == slab->capacity, "L2: only the newest active slab has pages to carve",
               start_of(*slab));
        room += slab->carved;
        ++active_;
        slab = slab->next;
      } while (slab != newest && !broken());
    }
    std::size_t count = 0;
    for (const void* block = heap.list(size_class); block != nullptr && !broken();
         block = link_of(const_cast<void*>(block))) {
      Segment* segment = segment_with(block);
      expect(segment != nullptr, "L2: a listed block is of this heap's memory", block);
      if (broken()) return;
      const Descriptor& slab = slab_at(*segment, unit_at(*segment, block));
      expect(slab.active && owner_of(slab) == &heap && slab.size_class == size_class && is_block(slab, block),
             "L2: a listed block is of an active slab", block);
      expect(++count <= room, "L2: a list is not longer than its slabs have blocks", block);
    }
  }

  void walk_segment(const Segment& segment) noexcept {
    bool free_before = false;
    std::size_t dirty_in_use = 0;
    for (std::size_t unit = 0; unit < segment.frontier && !broken();) {
      const Descriptor& run = segment.descriptors[unit];
      expect(run.units > 0 && unit + run.units <= segment.frontier, "runs follow each other without gaps",
             segment.address(unit));
      if (broken()) return;
      const std::size_t dirty = dirty_units(segment, unit, run.units);
      walk_run(segment, run, unit);
      const bool is_free = run.kind == Kind::kFree;
      expect(!(is_free && free_before), "P1: free runs are not neighbours", segment.address(unit));
      if (is_free) {
        expect(run.listed == (dirty > 0), "a free run knows whether it is dirty", segment.address(unit));
      } else {
        dirty_in_use += dirty;
      }
      if (is_free || run.kind == Kind::kBusy) {
        dirty_ += dirty;
      } else {
        live_ += run.units;
      }
      free_before = is_free;
      unit += run.units;
    }
    expect(broken() || dirty_in_use == 0, "P2: only free units are dirty", segment.base);
  }

  static std::size_t dirty_units(const Segment& segment, std::size_t first, std::size_t units) noexcept {
    std::size_t count = 0;
    for (std::size_t unit = first; unit < first + units; ++unit) count += segment.dirty[unit / 64] >> unit % 64 & 1;
    return count;
  }

  void walk_run(const Segment& segment, const Descriptor& run, std::size_t unit) noexcept {
    switch (run.kind) {
      case Kind::kSlab: walk_slab(segment, run, unit); break;
      case Kind::kLarge:
        ++checked_.large_blocks;
        expect(segment.map[unit].load() == kLargeEntry, "a large block has its entry", segment.address(unit));
        expect(run.large.bytes <= run.units * kUnitBytes, "a large block fits into its run", segment.address(unit));
        break;
      case Kind::kFree: {
        ++checked_.free_runs;
        const Descriptor& last = segment.descriptors[unit + run.units - 1];
        expect(last.kind == Kind::kFree && last.lead == unit, "a free run's last unit says where it begins",
               segment.address(unit));
        expect(segment.map[unit].load() == 0, "a free run has no entry", segment.address(unit));
        break;
      }
      case Kind::kPages:
        expect(segment.map[unit].load() == 0, "pages of a pool have no entry", segment.address(unit));
        break;
      case Kind::kOwn:
      case Kind::kBusy: break;
      case Kind::kNone: expect(false, "every run has a use", segment.address(unit)); break;
    }
  }

  void walk_slab(const Segment& segment, const Descriptor& slab, std::size_t unit) noexcept {
    const void* start = segment.address(unit);
    const std::uintptr_t entry = segment.map[unit].load();
    ++checked_.slabs;
    expect((entry & kClassMask) == slab.size_class && (entry & kOwnerMask) != 0,
           "a slab's entry has its class and an owner", start);
    expect(((entry & kCounted) == 0) == slab.active, "a slab's entry says whether it is active", start);
    for (std::size_t i = 0; i < slab.units; ++i) {
      expect(segment.map[unit + i].load() == entry, "all entries of a slab are alike", segment.address(unit + i));
      expect(segment.descriptors[unit + i].lead == unit, "every unit of a slab says where it begins",
             segment.address(unit + i));
    }
    expect(slab.carved <= slab.capacity && slab.capacity * kClassBytes[slab.size_class] <= slab.units * kUnitBytes,
           "a slab has no more blocks than fit", start);
    if (broken() || owner_of(slab)->state() == HeapState::kLost) return;
    const std::size_t free = length(slab, slab.slab.free, slab.carved);
    expect(free + slab.used == slab.carved, "blocks of a slab are used or free", start);
    expect(!slab.active || free == 0 || owner_of(slab)->is_asked_to_flush(),
           "L4: an active slab's free blocks are in the list", start);
    const std::uint64_t word = slab.slab.remote.load();
    expect(length(slab, remote::chain_of(word), slab.carved) == remote::count_of(word),
           "a chain from others is as long as it says", start);
    const auto* last = static_cast<const std::byte*>(start) + slab.slab.queued.last * kClassBytes[slab.size_class];
    expect(remote::count_of(word) == 0 || (is_block(slab, last) && link_of(const_cast<std::byte*>(last)) == nullptr),
           "a queued slab knows the last block of its chain", start);
    expect(remote::count_of(word) <= slab.used, "blocks from others count as used until they are drained", start);
    expect(remote::count_of(word) == 0 || (word & remote::kQueued) != 0, "L3: a slab with blocks from others is queued",
           start);
    expect(slab.active || slab.listed || slab.used == slab.capacity, "L1: a slab with room is active or listed", start);
    if (slab.active) --active_;
    if (slab.listed) --listed_;
    if (!slab.active && !slab.listed) --full_;
    checked_.blocks_used += slab.used;
  }

  Checked checked_;
  std::size_t live_ = 0;
  std::size_t dirty_ = 0;
  // Found from heaps and not from runs yet.
  std::size_t active_ = 0;
  std::size_t listed_ = 0;
  std::size_t full_ = 0;
};

}  // namespace

Checked check_invariants() noexcept { return Walk().run(); }

}  // namespace weft::mem
