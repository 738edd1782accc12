// mem/hardened_slabs.cc - see hardened_slabs.h.
#include "mem/hardened_slabs.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "mem/fatal.h"
#include "mem/local_heap.h"
#include "mem/page_runs.h"
#include "mem/seldom.h"

namespace weft::mem {

WEFT_SELDOM constinit HardenedSlabs hardened_slabs;
WEFT_SELDOM constinit LocalHeap hardened_owner;
constinit unsigned plain_classes = 0;

namespace {

// Below `bound`, which fits into 32 bits. A multiplication, because a division would take longer than all else that is done for a block.
std::size_t random_below(std::uint64_t& state, std::size_t bound) noexcept {
  if (state == 0) state = (canary::pattern[0] + reinterpret_cast<std::uintptr_t>(&state)) * 0x9e3779b97f4a7c15 | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return static_cast<std::size_t>((state >> 32) * bound >> 32);
}

// Whether a free block is there, and not with a thread.
std::atomic<std::uint8_t>& is_in(const Segment& segment, const std::byte* block) noexcept {
  return segment.states[static_cast<std::size_t>(block - segment.base) / kMinAlign];
}
void set_in(const Segment& segment, const std::byte* block, bool in) noexcept {
  is_in(segment, block).store(in ? 1 : 0, std::memory_order_relaxed);
}

// Blocks from this size on begin at a different line of a page in each slab, because otherwise those of all slabs, having sizes of many
// lines, would share a few sets of the cache.
constexpr std::size_t kLeastColoured = 2048;
constexpr std::size_t kColourStep = 5 * std::size_t{64};

// Units and blocks of a slab, behind the first header: a block fewer than there would be room for, or, of large blocks, a unit more.
struct SlabShape {
  unsigned units;
  unsigned blocks;
};
constexpr SlabShape shape_of(unsigned size_class) noexcept {
  const std::size_t bytes = kClassBytes[size_class];
  const unsigned units = slab_units(size_class);
  const std::size_t before = bytes < kLeastColoured ? marked::kHeaderBytes : kPageBytes;
  const auto blocks_in = [&](unsigned in) noexcept {
    return static_cast<unsigned>((in * kUnitBytes - before) / bytes);
  };
  const std::size_t whole = units * kUnitBytes / bytes;
  if (blocks_in(units) == whole || whole > 8) return {units, blocks_in(units)};
  return {units + 1, blocks_in(units + 1)};
}

void link(Descriptor*& head, Descriptor& slab) noexcept {
  slab.listed = true;
  slab.prev = nullptr;
  slab.next = head;
  if (head != nullptr) head->prev = &slab;
  head = &slab;
}
void unlink(Descriptor*& head, Descriptor& slab) noexcept {
  slab.listed = false;
  if (slab.next != nullptr) slab.next->prev = slab.prev;
  (slab.prev != nullptr ? slab.prev->next : head) = slab.next;
}

// Where the blocks of a slab are.
struct Blocks {
  std::byte* first;
  std::size_t bytes;
  std::byte* operator[](std::size_t index) const noexcept { return first + index * bytes; }
};
Blocks blocks_of(const Descriptor& slab) noexcept {
  const std::size_t bytes = kClassBytes[slab.size_class];
  const std::size_t colour =
      bytes < kLeastColoured ? 0 : unit_of(slab) * kColourStep % (kPageBytes - marked::kHeaderBytes) / 64 * 64;
  return {start_of(slab) + marked::kHeaderBytes + colour, bytes};
}

// Behind the blocks there are so far.
void check_end(const Descriptor& slab, const Blocks& all) noexcept {
  const std::byte* end = all[slab.carved];
  if (slab.carved > 0 && !marked::is_free(end)) report_mark(end, slab.size_class);
}

// The first of a few that has an eighth free, else the one with most: of a slab that is nearly full each block has to be looked for.
Descriptor* pick(Descriptor* first) noexcept {
  Descriptor* best = first;
  int left = 4;
  for (Descriptor* slab = first; slab != nullptr && left > 0; slab = slab->next, --left) {
    if (slab->capacity - slab->used >= slab->capacity / 8) return slab;
    if (slab->used < best->used) best = slab;
  }
  return best;
}

}  // namespace

BlockPlace place_in_slab(const Descriptor& slab, const void* address) noexcept {
  const Blocks all = blocks_of(slab);
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(address) - all.first);
  return {offset / all.bytes, offset % all.bytes};
}

// Of what is looked at in a free block no more than the program would touch of the least.
void make_free(std::byte* block, unsigned size_class) noexcept {
  if (is_plain(size_class)) return marked::retire_plain(block, size_class);
  const std::size_t size = std::min<std::size_t>(marked::sized_room(size_class), 4 * canary::kBytes);
  marked::set_free(block);
  marked::set_size(block, size);
  marked::clear_sized(block, size, true);
}

void report_mark(const std::byte* block, unsigned size_class) noexcept {
  fatal("a block was written to beyond its end, or the next one before its beginning", block - kClassBytes[size_class]);
}

void report_touched(const std::byte* block, unsigned size_class) noexcept {
  if (!marked::is_free(block)) report_mark(block, size_class);
  fatal("a block was written to after it had been freed", block);
}

Descriptor* HardenedSlabs::make_slab(Shelf& shelf, unsigned size_class) noexcept {
  const SlabShape shape = shape_of(size_class);
  const PageRuns::Run run = page_runs.allocate(shape.units, Kind::kSlab);
  if (run.first == nullptr) return nullptr;
  Descriptor& slab = *run.first;
  const std::uint32_t first = slab.lead;
  for (unsigned i = 0; i < shape.units; ++i) run.first[i].lead = first;
  slab.size_class = static_cast<std::uint8_t>(size_class);
  slab.capacity = static_cast<std::uint16_t>(shape.blocks);
  slab.slab.free = &shelf;
  set_entries(slab, reinterpret_cast<std::uintptr_t>(&hardened_owner) | size_class | kCounted |
                        (is_plain(size_class) ? kPlainEntry : 0));
  link(shelf.with_room, slab);
  return &slab;
}

void HardenedSlabs::free_slab(Shelf& shelf, Descriptor& slab) noexcept {
  unlink(shelf.with_room, slab);
  const Segment& segment = segment_of(slab);
  const Blocks all = blocks_of(slab);
  check_end(slab, all);
  for (unsigned i = 0; i < slab.carved; ++i) set_in(segment, all[i], false);
  set_entries(slab, 0);
  page_runs.free(slab);
}

// Blocks that came back, from a random one on; then a page of those that nobody has had.
std::size_t HardenedSlabs::take_from(Shelf& shelf, Descriptor& slab, std::byte** blocks, std::size_t count) noexcept {
  const Segment& segment = segment_of(slab);
  const Blocks all = blocks_of(slab);
  check_end(slab, all);
  std::size_t taken = 0;
  if (slab.used < slab.carved) {
    const std::size_t wanted = std::min<std::size_t>(count, slab.carved - slab.used);
    std::size_t index = random_below(shelf.random, slab.carved);
    while (taken < wanted) {
      std::byte* block = all[index];
      if (is_in(segment, block).load(std::memory_order_relaxed) != 0) {
        expect_untouched(block, slab.size_class);
        set_in(segment, block, false);
        blocks[taken++] = block;
      }
      if (++index == slab.carved) index = 0;
    }
  } else {
    const std::size_t in_page = std::max(kPageBytes / all.bytes, std::size_t{1});
    const std::size_t end = std::min<std::size_t>({slab.capacity, slab.carved + in_page, slab.carved + count});
    while (slab.carved < end) {
      make_free(all[slab.carved], slab.size_class);
      blocks[taken++] = all[slab.carved++];
    }
    marked::set_free(all[end]);
  }
  slab.used = static_cast<std::uint16_t>(slab.used + taken);
  return taken;
}

std::size_t HardenedSlabs::take(unsigned shard, unsigned size_class, std::byte** blocks, std::size_t count) noexcept {
  Shelf& shelf = shelves_[shard][size_class];
  const std::scoped_lock guard(shelf.lock);
  std::size_t taken = 0;
  while (taken < count) {
    Descriptor* slab = pick(shelf.with_room);
    // Some are enough.
    if (slab == nullptr && (taken > 0 || (slab = make_slab(shelf, size_class)) == nullptr)) break;
    taken += take_from(shelf, *slab, blocks + taken, count - taken);
    if (slab->used == slab->capacity) unlink(shelf.with_room, *slab);
  }
  for (std::size_t i = taken; i > 1; --i) std::swap(blocks[i - 1], blocks[random_below(shelf.random, i)]);
  return taken;
}

void HardenedSlabs::put_back(Shelf& shelf, Descriptor& slab) noexcept {
  --slab.used;
  if (!slab.listed) link(shelf.with_room, slab);
  const bool alone = shelf.with_room == &slab && slab.next == nullptr;
  if (slab.used == 0 && !alone) free_slab(shelf, slab);
}

void HardenedSlabs::give(std::byte* const* blocks, std::size_t count) noexcept {
  Shelf* locked = nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* block = blocks[i];
    Segment& segment = *segment_with(block);
    Descriptor& slab = slab_at(segment, unit_at(segment, block));
    auto* shelf = static_cast<Shelf*>(slab.slab.free);
    if (locked == nullptr || shelf != locked) {
      if (locked != nullptr) locked->lock.unlock();
      shelf->lock.lock();
      locked = shelf;
    }
    set_in(segment, block, true);
    put_back(*locked, slab);
  }
  if (locked != nullptr) locked->lock.unlock();
}

void HardenedSlabs::before_fork() noexcept {
  for (auto& shard : shelves_) {
    for (Shelf& shelf : shard) shelf.lock.lock();
  }
}

void HardenedSlabs::after_fork() noexcept {
  for (auto& shard : shelves_) {
    for (Shelf& shelf : shard) shelf.lock.unlock();
  }
}

}  // namespace weft::mem
