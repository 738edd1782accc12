// sched/timers.h - a worker's pending deadlines, earliest first: a heap of four children a node, and before it those armed last,
// in no order. Internal to sched/.
//
//   arm  ->  [fresh]  ->  when they are due, or there is no more room: [heap]  ->  fire
//
// Only the owning worker's fibers arm timers here; the fiber may have moved when it disarms one, and an idle worker may fire a
// busy one's, so a lock guards all. Arm and disarm cost no system call: the worker parks in its ring with earliest() as the
// limit. Parks nothing.
//
// Almost all deadlines are armed and soon disarmed, long before they are due. Such a one is never sorted: it goes in at the end of
// `fresh_` and the last of these takes its place when it leaves. Nor is it asked then whether it was the earliest: not_before() is a
// bound that only falls when a timer is armed, and is made exact by who has a use for it, fire() and earliest().
//
// Why a heap for the others and not a wheel: time and order are exact, as a Simulation wants them, and those that come later than
// most that are there go in at its end in one or two steps. The times lie in the entries, so that a comparison touches no waiting
// stack; a million deadlines are ten levels. 24 bytes each, and nothing is left of a disarmed one.
// Tests: tests/sched/timers_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernel/spinlock.h"
#include "sched/waiter.h"

namespace weft::sched {

class Timers {
 public:
  static constexpr std::int64_t kNothing = std::numeric_limits<std::int64_t>::max();
  static constexpr std::size_t kMostFresh = 64;

  void arm(TimerNode& node, std::int64_t at_ns, Waiter& waiter);
  // No matter if it is in. Not needed where the wait ended with kTimedOut: then it was taken out before.
  void disarm(TimerNode& node) noexcept;
  // Ends the waits whose time has come; how many.
  std::size_t fire(std::int64_t now_ns) noexcept;
  // No timer is due before it. Nanoseconds on the scheduler's clock, or kNothing: then there is none. Costs a load; the timer it was
  // of may be gone.
  [[nodiscard]] std::int64_t not_before() const noexcept { return not_before_.load(std::memory_order_acquire); }
  // When the next one is due, or kNothing.
  [[nodiscard]] std::int64_t earliest() noexcept;
  [[nodiscard]] bool any_due(std::int64_t now_ns) noexcept { return not_before() <= now_ns && earliest() <= now_ns; }

 private:
  static constexpr std::size_t kChildren = 4;
  static constexpr std::uint32_t kIsFresh = 1U << 31;  // in TimerNode::index
  struct Entry {
    std::int64_t at_ns;
    std::uint64_t order;
    TimerNode* node;
  };
  static bool before(const Entry& a, const Entry& b) noexcept {
    return a.at_ns != b.at_ns ? a.at_ns < b.at_ns : a.order < b.order;
  }
  void place_fresh(std::size_t index, const Entry& entry) noexcept;
  void remove_fresh(std::size_t index) noexcept;
  void sort_in_fresh(std::int64_t up_to_ns) noexcept;
  void place(std::size_t index, const Entry& entry) noexcept;
  void sift_up(std::size_t index, const Entry& entry) noexcept;
  void sift_down(std::size_t index, const Entry& entry) noexcept;
  void remove_at(std::size_t index) noexcept;
  std::int64_t publish() noexcept;

  Spinlock lock_;  // guards all below
  std::size_t fresh_count_ = 0;
  std::uint64_t armed_ = 0;
  std::atomic<std::int64_t> not_before_{kNothing};
  std::vector<Entry> heap_;
  std::array<Entry, kMostFresh> fresh_;
};

}  // namespace weft::sched
