// sched/latency.h - how often which latencies came, counted by one thread. Internal to sched/.
//
// Buckets as kernel/metrics.h's Histogram has them (log-linear, after Tene's HdrHistogram: within an eighth of the value), without
// its cells for many writers: one store an addition. Read from any thread. Nothing parks. Tests: tests/sched/trace_test.cc.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernel/metrics.h"

namespace weft::sched {

class LatencyCounts {
 public:
  // By the one owner.
  void add(std::int64_t nanoseconds) noexcept {
    const auto value = nanoseconds < 0 ? 0 : static_cast<std::uint64_t>(nanoseconds);
    bump(buckets_[Histogram::bucket_of(value)], 1);
    bump(sum_, value);
  }
  void add_to(Histogram::Reading& sum) const noexcept {
    for (std::size_t i = 0; i < Histogram::kBuckets; ++i) {
      const std::uint64_t count = buckets_[i].load(std::memory_order_relaxed);
      sum.buckets[i] += count;
      sum.count += count;
    }
    sum.sum += sum_.load(std::memory_order_relaxed);
  }

 private:
  static void bump(std::atomic<std::uint64_t>& counter, std::uint64_t by) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
  }
  std::atomic<std::uint64_t> sum_{0};
  std::atomic<std::uint64_t> buckets_[Histogram::kBuckets] = {};
};

}  // namespace weft::sched
