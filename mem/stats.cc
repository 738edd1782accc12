// mem/stats.cc - see stats.h.
#include "mem/stats.h"

#include <algorithm>
#include <mutex>

#include "mem/hardened.h"
#include "mem/heap_registry.h"
#include "mem/limits.h"
#include "mem/page_runs.h"
#include "mem/sampling.h"
#include "mem/segment.h"
#include "mem/thread_heap.h"

namespace weft::mem {
namespace {

void count_run(Stats& stats, const Descriptor& run) noexcept {
  const std::size_t bytes = run.units * kUnitBytes;
  switch (run.kind) {
    case Kind::kSlab: {
      ClassStats& each = stats.classes[run.size_class];
      ++each.slabs;
      each.blocks_used += run.used;
      each.blocks_carved += run.carved;
      each.blocks_capacity += run.capacity;
      break;
    }
    case Kind::kLarge:
      ++stats.large_blocks;
      stats.large_bytes += run.large.bytes;
      break;
    case Kind::kPages: stats.pages_bytes[run.size_class] += bytes; break;
    case Kind::kOwn: stats.own_bytes += bytes; break;
    case Kind::kFree:
    case Kind::kBusy:
      stats.free_bytes += bytes;
      ++stats.free_runs;
      break;
    case Kind::kNone: break;
  }
}

void count_runs(Stats& stats) noexcept {
  const std::scoped_lock guard(page_runs.lock());
  const std::size_t count = segment_count.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i) {
    const Segment& segment = segments[i];
    stats.reserved_bytes += segment.units * kUnitBytes;
    stats.committed_bytes += segment.committed * kUnitBytes;
    for (std::size_t unit = 0; unit < segment.frontier;) {
      const Descriptor& run = segment.descriptors[unit];
      count_run(stats, run);
      unit += std::max<std::size_t>(run.units, 1);
    }
  }
  stats.live_bytes = page_runs.live_units() * kUnitBytes;
  stats.dirty_bytes = page_runs.dirty_units() * kUnitBytes;
  stats.peak_bytes = page_runs.peak_units() * kUnitBytes;
}

// Of the caller's own lists it is known how long they are.
void subtract_own_lists(Stats& stats) noexcept {
  for (unsigned c = 0; c < kClasses; ++c) {
    const std::size_t waiting =
        hardened::on() ? current_lists->blocks_of(c) : current_heap->waiting_blocks(c) + sampling::waiting_blocks(c);
    stats.classes[c].blocks_used -= std::min(waiting, stats.classes[c].blocks_used);
  }
}

}  // namespace

Stats gather_stats() noexcept {
  Stats stats;
  count_runs(stats);
  subtract_own_lists(stats);
  for (unsigned c = 0; c < kClasses; ++c) stats.small_bytes += stats.classes[c].blocks_used * kClassBytes[c];
  stats.used_bytes = stats.small_bytes + stats.large_bytes;
  heap_registry.each([&](const LocalHeap& heap) {
    const HeapCounts& counts = heap.counts();
    ++stats.heaps;
    stats.refills += counts.refills;
    stats.slabs_made += counts.slabs_made;
    stats.slabs_freed += counts.slabs_freed;
    stats.slabs_adopted += counts.slabs_adopted;
    stats.posts += counts.posts;
  });
  stats.sample_mean_bytes = sampling::mean.load(std::memory_order_relaxed);
  stats.samples = sampling::count();
  stats.soft_limit_bytes = limits().soft_bytes;
  stats.hard_limit_bytes = limits().hard_bytes;
  stats.soft_limit_passed = page_runs.soft_passes();
  stats.hard_limit_refused = page_runs.hard_refusals();
  stats.idle_heaps = heap_registry.idle_count();
  return stats;
}

}  // namespace weft::mem
