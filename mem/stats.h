// mem/stats.h - what the heap holds, as numbers. Internal to the library; text, JSON and Prometheus are report.h's.
//
// Counted by a walk over all runs, under the lock of PageRuns: O(units in use), a few milliseconds for a gigabyte. What other
// threads do at that moment is in it or not. Blocks that wait in another thread's list or batch count as in use.
// Tests: tests/mem/stats_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "mem/pages.h"
#include "mem/size_class.h"

namespace weft::mem {

struct ClassStats {
  std::size_t slabs = 0;
  std::size_t blocks_used = 0;
  std::size_t blocks_carved = 0;
  std::size_t blocks_capacity = 0;
};

struct Stats {
  std::size_t reserved_bytes = 0;   // address space
  std::size_t committed_bytes = 0;  // of it usable
  std::size_t used_bytes = 0;       // blocks in the program's hands, as large as their classes
  std::size_t small_bytes = 0;      // of these, in slabs
  std::size_t large_bytes = 0;
  std::size_t large_blocks = 0;
  std::array<std::size_t, kPageUses> pages_bytes{};  // of pools, by PageUse; not in used_bytes
  std::size_t live_bytes = 0;   // units in use, by slabs (whole), large blocks, pools and the heap itself
  std::size_t dirty_bytes = 0;  // free, with pages
  std::size_t free_bytes = 0;   // free, dirty or not
  std::size_t free_runs = 0;    // in so many pieces
  std::size_t peak_bytes = 0;   // the most that live_bytes ever was
  std::size_t own_bytes = 0;    // heaps
  std::size_t heaps = 0;
  std::size_t idle_heaps = 0;
  // Of all heaps.
  std::size_t refills = 0;
  std::size_t slabs_made = 0;
  std::size_t slabs_freed = 0;
  std::size_t slabs_adopted = 0;
  std::size_t posts = 0;
  // profile.h.
  std::size_t sample_mean_bytes = 0;  // 0: off
  std::size_t samples = 0;
  // limits.h; SIZE_MAX: none.
  std::size_t soft_limit_bytes = SIZE_MAX;
  std::size_t hard_limit_bytes = SIZE_MAX;
  std::size_t soft_limit_passed = 0;
  std::size_t hard_limit_refused = 0;
  std::array<ClassStats, kClasses> classes;
};

// Any thread.
Stats gather_stats() noexcept;

}  // namespace weft::mem
