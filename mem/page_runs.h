// mem/page_runs.h - runs of 16 KiB units: given out, taken back, joined with their neighbours, kept dirty, purged. Internal.
//
//   slabs, large blocks -> [PageRuns] -> segments -> kernel
//
// Free runs lie in bins by length, those with pages that were used (dirty) apart from clean ones. A request takes the
// shortest dirty run that fits, else the shortest clean one, else it goes past the frontier: a page that is already there costs
// nothing, a new one 1.5 to 3 us. For what is going to grow there is free address space behind (room): long runs are used
// from their ends, so that it stays free. What to give back to the kernel and when is purge.h's, unless a limit (limits.h) asks
// for more.
// Invariants   P1  two free runs are never neighbours (but one may be away being purged)
//              P2  dirty_units == set bits of `dirty` in all segments, and only units of free runs have theirs set
//              P3  live_units == units of all runs that are not free
// Locks        lock(), the innermost of the heap; never held during a purge, but while an empty segment is unmapped.
// Tests: tests/mem/page_runs_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "kernel/spinlock.h"
#include "mem/counter.h"
#include "mem/descriptor.h"
#include "mem/purge.h"
#include "mem/segment.h"

namespace weft::mem {

class PageRuns {
 public:
  struct Run {
    Descriptor* first = nullptr;  // nullptr: no memory
    bool zero = false;            // every byte reads as zero
  };

  // A run whose first unit is aligned to `align_units` (a power of two) from the segment's base, which is itself aligned to 2 MiB
  // (to a unit in small segments: `align_bytes` is exact). Fields of the descriptor are as new but for kind, segment and units.
  Run allocate(std::size_t units, Kind kind, std::size_t align_bytes = kUnitBytes) noexcept;
  // A run with `room` free units behind it, into which grow() finds way until another request takes them; where address space is
  // short, a run as of allocate().
  Run allocate_with_room(std::size_t units, std::size_t room, Kind kind) noexcept;
  // Map entries are the caller's to clear before. `clean`: the pages are gone already.
  void free(Descriptor& first, bool clean = false) noexcept;
  // The run becomes longer where it is, if what follows is free.
  bool grow(Descriptor& first, std::size_t units) noexcept;
  // Its end becomes free. 0 < units <= first.units.
  void shrink(Descriptor& first, std::size_t units) noexcept;

  // Gives back dirty pages until at most `keep_units` are left. Returns how many units went.
  std::size_t purge_to(std::size_t keep_units) noexcept;
  // As much as was dirty all the time since the last such call goes. Returns how many units went.
  std::size_t purge_unused() noexcept;
  // Segments of which nothing is in use go back, if address space is scarce enough for there to be several. True: one went.
  bool remove_empty_segments() noexcept;
  // What decays with time; returns how many units went. Cheap when there is nothing to do.
  std::size_t tick() noexcept;

  // In units; SIZE_MAX: none. See limits.h. Purges at once what is too much.
  void set_limits(std::size_t soft_units, std::size_t hard_units) noexcept;
  std::size_t soft_units() const noexcept { return limits.soft; }
  std::size_t hard_units() const noexcept { return limits.hard; }
  // How often live_units went past the soft limit, and how many requests the hard one refused.
  std::size_t soft_passes() const noexcept { return soft_passes_; }
  std::size_t hard_refusals() const noexcept { return hard_refusals_; }

  // Racy, for numbers.
  std::size_t live_units() const noexcept { return live_units_; }
  std::size_t dirty_units() const noexcept { return dirty_units_; }
  std::size_t peak_units() const noexcept { return peak_units_; }
  // For tests: what went before is forgotten.
  void forget_demand() noexcept;

  Spinlock& lock() noexcept { return lock_; }
  // For the checker, with the lock.
  template <typename Visit>
  void each_free_run(const Visit& visit) const noexcept {
    for (const auto* set : {&dirty_bins_, &clean_bins_}) {
      for (std::size_t bin = 0; bin < kBins; ++bin) {
        for (const Descriptor* run = set->heads[bin]; run != nullptr; run = run->next)
          visit(*run, bin, set == &dirty_bins_);
      }
    }
  }
  static std::size_t bin_of(std::size_t units) noexcept;

 private:
  static constexpr std::size_t kBins = 192;
  struct Bins {
    std::array<Descriptor*, kBins> heads{};
    std::array<std::uint64_t, kBins / 64> filled{};
  };

  bool remove_if_empty(Segment& segment) noexcept;
  Descriptor* find(const Bins& bins, std::size_t units) noexcept;
  Descriptor* take(std::size_t units) noexcept;
  // Takes a run by `take` under the lock, unless that were more than the hard limit, and looks after both limits.
  template <typename Take>
  Run within_limits(std::size_t units, const Take& take) noexcept;
  Run allocate_locked(std::size_t units, Kind kind, std::size_t align_bytes) noexcept;
  bool grow_locked(Descriptor& first, std::size_t units) noexcept;
  Descriptor* from_frontier(std::size_t units) noexcept;
  Run use(Descriptor& run, std::size_t skip, std::size_t units, Kind kind) noexcept;
  void insert(Segment& segment, std::size_t first, std::size_t units) noexcept;
  void insert_joined(Segment& segment, std::size_t first, std::size_t units) noexcept;
  void remove(Descriptor& run) noexcept;
  Bins& bins_of(const Descriptor& run) noexcept { return run.listed ? dirty_bins_ : clean_bins_; }
  void count_live(std::ptrdiff_t units) noexcept;
  std::size_t take_dirty(Segment& segment, std::size_t first, std::size_t units) noexcept;
  void release(Segment& segment, std::size_t first, std::size_t units, bool clean) noexcept;

  // Dirty units that may stay.
  std::size_t below_limits() const noexcept;
  std::size_t budget() const noexcept;
  bool due() const noexcept;
  bool refuses(std::size_t more_units) noexcept;
  bool strained() const noexcept;
  void obey_limits() noexcept;

  struct PurgeRound;
  bool collect(PurgeRound& round, std::size_t keep_units) noexcept;
  void purge_if_due() noexcept;
  void freed(bool purges) noexcept;

  // Apart, so that all of the object begins as zero and takes no pages of the file.
  struct UnitLimits {
    Counter soft{SIZE_MAX};
    Counter hard{SIZE_MAX};
  };
  static constinit UnitLimits limits;

  Spinlock lock_;
  Bins dirty_bins_;
  Bins clean_bins_;
  Counter live_units_;
  Counter dirty_units_;
  std::size_t low_water_ = 0;  // the fewest dirty units since the last purge_unused()
  Counter peak_units_;
  PurgePolicy policy_;
  Counter soft_passes_;
  Counter hard_refusals_;
  bool above_soft_ = false;
};

extern constinit PageRuns page_runs;

}  // namespace weft::mem
