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

namespace {

std::uint64_t next_random(std::uint64_t& state) noexcept {
  if (state == 0) state = (canary::pattern[0] + reinterpret_cast<std::uintptr_t>(&state)) * 0x9e3779b97f4a7c15 | 1;
  state ^= state << 13;
  state ^= state >> 7;
  state ^= state << 17;
  return state;
}

// Units and blocks of a slab, with 16 bytes left at its end: a block fewer, or, of large blocks, a unit more.
struct SlabShape {
  unsigned units;
  unsigned blocks;
};
constexpr SlabShape shape_of(unsigned size_class) noexcept {
  const std::size_t bytes = kClassBytes[size_class];
  const unsigned units = slab_units(size_class);
  const std::size_t whole = units * kUnitBytes / bytes;
  const std::size_t blocks = (units * kUnitBytes - canary::kBytes) / bytes;
  if (blocks == whole || whole > 8) return {units, static_cast<unsigned>(blocks)};
  return {units + 1, static_cast<unsigned>(whole)};
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

std::byte* block_of(const Descriptor& slab, std::size_t index) noexcept {
  return start_of(slab) + index * kClassBytes[slab.size_class];
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

void report_touched(const void* block, std::size_t bytes, std::size_t slack) noexcept {
  const auto* end = static_cast<const std::byte*>(block) + bytes;
  fatal(canary::holds(end, slack) ? "a block was written to after it had been freed"
                                  : "a block was written to beyond its end",
        block);
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
  canary::write(start_of(slab) + shape.units * kUnitBytes, canary::kBytes);
  set_entries(slab, reinterpret_cast<std::uintptr_t>(&hardened_owner) | size_class | kCounted);
  link(shelf.with_room, slab);
  return &slab;
}

void HardenedSlabs::free_slab(Shelf& shelf, Descriptor& slab) noexcept {
  unlink(shelf.with_room, slab);
  const Segment& segment = segment_of(slab);
  for (unsigned i = 0; i < slab.carved; ++i) set_state(state_of(segment, block_of(slab, i)), kNoBlock);
  set_entries(slab, 0);
  page_runs.free(slab);
}

// Blocks that came back, from a random one on; then a page of those that nobody has had.
std::size_t HardenedSlabs::take_from(Shelf& shelf, Descriptor& slab, FreeBlock* blocks, std::size_t count) noexcept {
  const Segment& segment = segment_of(slab);
  std::size_t taken = 0;
  const auto take_block = [&](std::size_t index) noexcept {
    blocks[taken++] = FreeBlock(block_of(slab, index), canary::kBytes);
    set_state(state_of(segment, block_of(slab, index)), kFreed);
  };
  if (slab.used < slab.carved) {
    const std::size_t wanted = std::min<std::size_t>(count, slab.carved - slab.used);
    std::size_t index = next_random(shelf.random) % slab.carved;
    while (taken < wanted) {
      if (state_of(segment, block_of(slab, index)).load(std::memory_order_relaxed) == kInSlab) take_block(index);
      if (++index == slab.carved) index = 0;
    }
  } else {
    const std::size_t bytes = kClassBytes[slab.size_class];
    const std::size_t in_page = std::max(kPageBytes / bytes, std::size_t{1});
    const std::size_t end = std::min<std::size_t>({slab.capacity, slab.carved + in_page, slab.carved + count});
    while (slab.carved < end) {
      // Also where it is known to be zero: a page that is read before it is written costs two faults.
      canary::make_free(block_of(slab, slab.carved), bytes);
      take_block(slab.carved++);
    }
  }
  slab.used = static_cast<std::uint16_t>(slab.used + taken);
  return taken;
}

std::size_t HardenedSlabs::take(unsigned shard, unsigned size_class, FreeBlock* blocks, std::size_t count) noexcept {
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
  for (std::size_t i = taken; i > 1; --i) std::swap(blocks[i - 1], blocks[next_random(shelf.random) % i]);
  return taken;
}

void HardenedSlabs::put_back(Shelf& shelf, Descriptor& slab, FreeBlock block) noexcept {
  const std::size_t bytes = kClassBytes[slab.size_class];
  expect_untouched(block.start(), bytes, block.slack());
  canary::make_free(block.start(), bytes);
  set_state(state_of(segment_of(slab), block.start()), kInSlab);
  --slab.used;
  if (!slab.listed) link(shelf.with_room, slab);
  const bool alone = shelf.with_room == &slab && slab.next == nullptr;
  if (slab.used == 0 && !alone) free_slab(shelf, slab);
}

void HardenedSlabs::give(const FreeBlock* blocks, std::size_t count) noexcept {
  Shelf* locked = nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    const std::byte* block = blocks[i].start();
    Segment& segment = *segment_with(block);
    Descriptor& slab = slab_at(segment, unit_at(segment, block));
    auto* shelf = static_cast<Shelf*>(slab.slab.free);
    if (locked == nullptr || shelf != locked) {
      if (locked != nullptr) locked->lock.unlock();
      shelf->lock.lock();
      locked = shelf;
    }
    put_back(*locked, slab, blocks[i]);
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
