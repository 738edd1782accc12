// fs/fuse/request_ages.h - whether any request has been under way for too long, for two additions a request.
//
// Time is told in periods, kPeriods of them to a round. Each request counts at the period it began in; when the round comes to that
// period again and somebody still counts there, he has been under way for kPeriods - 1 of them at the least. So who wants a limit
// calls next_period() each (limit / kShortest).
//
// Thread- and fiber-safe; nothing parks. Tests: tests/fs/fuse/request_ages_test.cc
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace weft::fs::fuse {

class RequestAges {
 public:
  static constexpr unsigned kPeriods = 9;
  static constexpr unsigned kShortest = kPeriods - 1;

  // A request: under way as long as it lives.
  class Entry {
   public:
    explicit Entry(RequestAges& ages) noexcept : begun_(ages.under_way_[ages.period_.load(std::memory_order_relaxed)]) {
      begun_.fetch_add(1, std::memory_order_relaxed);
    }
    ~Entry() { begun_.fetch_sub(1, std::memory_order_relaxed); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    std::atomic<std::uint32_t>& begun_;
  };

  // How many have been under way for kShortest periods or longer. One caller.
  std::uint32_t next_period() noexcept {
    const unsigned next = (period_.load(std::memory_order_relaxed) + 1) % kPeriods;
    const std::uint32_t old = under_way_[next].load(std::memory_order_relaxed);
    period_.store(next, std::memory_order_relaxed);
    return old;
  }

 private:
  std::atomic<unsigned> period_{0};
  std::array<std::atomic<std::uint32_t>, kPeriods> under_way_{};
};

}  // namespace weft::fs::fuse
