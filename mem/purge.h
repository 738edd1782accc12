// mem/purge.h - how many dirty pages are kept: by budget and by demand. Internal; PageRuns asks it under its lock.
//
// Kept dirty are max(1 MiB, live / 8), or more for who takes again what it frees, but never more than brings the process to its recent
// peak, nor than what is live or 24 MiB: who has freed nearly all may never call again. Two signs tell who that is.
// It has not fallen: what it freed, less twice what it took since, is no more than a quarter of what is live, or 12 MiB.
// Demand: when memory that went to the kernel a moment ago is needed again, the purge was a mistake that cost five times itself,
// and the budget grows by as much (by four times that up to a quarter of what is live, so that few mistakes are enough to
// learn from; holes between blocks of many sizes are as much); it falls by two thirds every second, and by a quarter of what goes to the
// kernel. So a program that frees and is done pays once and keeps little, and one that goes up and down keeps what it is going to need.
// Below the budget the rest goes within about a second of slow paths (MADV_FREE would keep it on our bill until others need it).
// Tests: tests/mem/purge_test.cc.
#pragma once

#include <algorithm>
#include <cstddef>

#include "mem/size_class.h"

namespace weft::mem {

class PurgePolicy {
 public:
  static constexpr std::size_t kLeastUnits = (std::size_t{1} << 20) / kUnitBytes;
  static constexpr std::size_t kMostIdle = (std::size_t{24} << 20) / kUnitBytes;

  // Units to keep dirty now.
  std::size_t budget(std::size_t live_units) const noexcept {
    const std::size_t to_peak = peak_ > live_units ? std::min(peak_ - live_units, std::max(kMostIdle, live_units)) : 0;
    const bool has_fallen = fallen_ > std::max(kMostIdle / 2, live_units / 4);
    return std::max({kLeastUnits, live_units / 8, has_fallen ? 0 : to_peak,
                     std::min(demand_, std::max(to_peak, live_units / 4)), std::min(4 * demand_, live_units / 4)});
  }
  // Above it a purge is due: a quarter more, so that one frees many.
  bool due(std::size_t dirty_units, std::size_t live_units) const noexcept {
    const std::size_t kept = budget(live_units);
    return dirty_units > kept + kept / 4;
  }

  // Units became free, or are in use again.
  void released(std::size_t units) noexcept { fallen_ += units; }
  void took(std::size_t units) noexcept { fallen_ -= std::min(fallen_, 2 * units); }
  // What goes and is not missed says that less is needed.
  void purged(std::size_t units) noexcept {
    purged_ += units;
    demand_ -= std::min(demand_, units / 4);
  }
  // A run was handed out of which this many units had no pages any more, or never had.
  void took_clean(std::size_t units, std::size_t resident_units) noexcept {
    peak_ = std::max(peak_, resident_units);
    const std::size_t regretted = std::min(units, purged_);
    purged_ -= regretted;
    demand_ += regretted;
  }
  // Time passes. True: once more in a while, when what is dirty should shrink.
  bool tick(unsigned long now_ms, std::size_t live_units) noexcept {
    if (now_ms - last_ms_ < kTickMs) return false;
    // As often as it should have been.
    for (unsigned long ticks = std::min((now_ms - last_ms_) / kTickMs, 64UL); ticks > 0; --ticks) {
      purged_ /= 2;
      demand_ -= (demand_ + 3) / 4;
      peak_ = std::max(live_units, peak_ - peak_ / 8);
    }
    last_ms_ = now_ms;
    return true;
  }

  std::size_t demand() const noexcept { return demand_; }

 private:
  static constexpr unsigned long kTickMs = 250;

  std::size_t peak_ = 0;    // the most that was live or dirty of late when more was needed
  std::size_t demand_ = 0;  // units
  std::size_t purged_ = 0;  // of late
  std::size_t fallen_ = 0;  // units freed, less twice those taken since
  unsigned long last_ms_ = 0;
};

}  // namespace weft::mem
