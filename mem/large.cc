// mem/large.cc - see large.h.
#include "mem/large.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>

#include "mem/local_heap.h"
#include "mem/page_runs.h"
#include "mem/sampling.h"
#include "mem/segment.h"
#include "mem/system_memory.h"

namespace weft::mem {
namespace {

constexpr std::size_t kLeastMoved = std::size_t{128} << 10;
// Runs whose pages came from elsewhere are mappings of their own to the kernel, of which it allows 65,530.
constexpr int kMostMoved = 8192;
constinit std::atomic<int> moved_runs{0};

// What grows once grows again. Address space costs nothing, so a block that has to move gets as much of it behind it as lets it
// become many times as long.
constexpr std::size_t kRoomTimes = 32;
constexpr std::size_t kMostRoom = (std::size_t{32} << 20) / kUnitBytes;

constexpr std::size_t kMostBytes = std::size_t{1} << 47;

std::size_t units_for(std::size_t bytes) noexcept { return (bytes + kUnitBytes - 1) / kUnitBytes; }
std::size_t whole_pages(std::size_t size) noexcept { return (size + kPageBytes - 1) & ~(kPageBytes - 1); }

void set_entry(const Descriptor& run, std::uintptr_t entry) noexcept {
  segment_of(run).map[unit_of(run)].store(entry, std::memory_order_release);
}

PageRuns::Run run_with_room(std::size_t bytes) noexcept {
  const std::size_t units = units_for(bytes);
  const PageRuns::Run run = page_runs.allocate_with_room(units, std::min(units * kRoomTimes, kMostRoom), Kind::kLarge);
  if (run.first != nullptr) run.first->growth = Growth::kRoomy;
  return run;
}

void* begin_block(Descriptor& run, std::size_t bytes) noexcept {
  run.large.bytes = bytes;
  run.large.heap.store(nullptr, std::memory_order_relaxed);
  set_entry(run, kLargeEntry);
  return start_of(run);
}

}  // namespace

void* allocate_large(std::size_t size, std::size_t align, bool zero, LocalHeap* heap) noexcept {
  if (size > kMostBytes || align > kMostBytes) return nullptr;
  const std::size_t bytes = whole_pages(std::max(size, std::size_t{1}));
  const std::size_t units = units_for(bytes);
  if (heap != nullptr && !heap->charge(units)) return nullptr;
  const PageRuns::Run run = page_runs.allocate(units, Kind::kLarge, align);
  if (run.first == nullptr) {
    if (heap != nullptr) heap->discharge(units);
    return nullptr;
  }
  void* block = begin_block(*run.first, bytes);
  if (heap != nullptr) {
    run.first->large.heap.store(heap, std::memory_order_relaxed);
    run.first->next = heap->large_blocks;
    if (run.first->next != nullptr) run.first->next->prev = run.first;
    heap->large_blocks = run.first;
  }
  if (zero && !run.zero) std::memset(block, 0, size);
  return block;
}

void* allocate_growing(std::size_t size) noexcept {
  if (size > kMostBytes) return nullptr;
  const std::size_t bytes = whole_pages(size);
  const PageRuns::Run run = run_with_room(bytes);
  return run.first == nullptr ? nullptr : begin_block(*run.first, bytes);
}

namespace {

// `clean`: its pages have moved away.
void free_pages(Descriptor& run, bool clean) noexcept {
  set_entry(run, 0);
  if (run.growth == Growth::kMoved) {
    clean = system::replace(start_of(run), run.units * kUnitBytes) || clean;
    moved_runs.fetch_sub(1, std::memory_order_relaxed);
  } else if (run.growth == Growth::kRoomy && !clean) {
    const system::Range all{.start = start_of(run), .bytes = run.units * kUnitBytes};
    system::purge(&all, 1);
    clean = true;
  }
  page_runs.free(run, clean);
}

void unlink_from(LocalHeap& heap, Descriptor& run) noexcept {
  if (run.next != nullptr) run.next->prev = run.prev;
  if (run.prev != nullptr) {
    run.prev->next = run.next;
  } else {
    heap.large_blocks = run.next;
  }
  heap.discharge(run.units);
}

}  // namespace

void free_large(Descriptor& run) noexcept {
  if (run.sampled) [[unlikely]]
    sampling::large_goes(run);
  if (LocalHeap* heap = run.large.heap.load(std::memory_order_relaxed); heap != nullptr) {
    if (!heap->lock_private()) return;
    unlink_from(*heap, run);
    heap->let_go();
  }
  free_pages(run, false);
}

namespace {

void* move_to_longer(Descriptor& run, std::size_t bytes) noexcept {
  if (run.large.bytes < kLeastMoved || moved_runs.load(std::memory_order_relaxed) >= kMostMoved) return nullptr;
  const PageRuns::Run longer = run_with_room(bytes);
  if (longer.first == nullptr) return nullptr;
  void* to = start_of(*longer.first);
  // Whole units: a page left behind would be taken for zeros.
  if (!system::move_pages(start_of(run), to, run.units * kUnitBytes)) {
    page_runs.free(*longer.first);
    return nullptr;
  }
  longer.first->growth = Growth::kMoved;
  moved_runs.fetch_add(1, std::memory_order_relaxed);
  begin_block(*longer.first, bytes);
  free_pages(run, true);
  return to;
}

}  // namespace

void* resize_large(Descriptor& run, std::size_t size) noexcept {
  if (size > kMostBytes) return nullptr;
  const std::size_t bytes = whole_pages(size);
  const std::size_t units = units_for(bytes);
  // Of a mem::Heap: its account and list are its own affair, and it copies.
  LocalHeap* heap = run.large.heap.load(std::memory_order_relaxed);
  if (units > run.units) {
    if (heap != nullptr) return nullptr;
    if (!page_runs.grow(run, units)) return move_to_longer(run, bytes);
  } else if (bytes < run.large.bytes && units < run.units) {
    // One that shrinks a lot has pages to give back, and a small block should not keep a unit.
    if (size <= kLeastRun) return nullptr;
    if (heap != nullptr) heap->discharge(run.units - units);
    page_runs.shrink(run, units);
  }
  run.large.bytes = bytes;
  return start_of(run);
}

}  // namespace weft::mem
