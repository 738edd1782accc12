// sched/timers.h - a worker's pending deadlines: a heap of four children a node, earliest first. Internal to sched/.
//
// Only the owning worker's fibers arm timers here; the fiber may have moved when it disarms one, and an idle worker may fire a
// busy one's, so a lock guards the heap. Arm and disarm cost no system call: the worker parks in its ring with earliest() as the
// limit. Parks nothing.
//
// Why a heap and not a wheel: almost all deadlines are armed and disarmed, and come later than most that are there. Such a one
// goes in at the end in one or two steps and leaves from near it, while time and order are exact, as a Simulation wants them.
// The times lie in the heap itself, so that a comparison touches no waiting stack; with four children to a node a million
// deadlines are ten levels. 24 bytes each, and nothing is left of a disarmed one.
// Tests: tests/sched/timers_test.cc.
#pragma once

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

  void arm(TimerNode& node, std::int64_t at_ns, Waiter& waiter);
  void disarm(TimerNode& node) noexcept;
  // Ends the waits whose time has come; how many.
  std::size_t fire(std::int64_t now_ns) noexcept;
  // Nanoseconds on the scheduler's clock, or kNothing.
  [[nodiscard]] std::int64_t earliest() const noexcept { return earliest_.load(std::memory_order_acquire); }

 private:
  static constexpr std::size_t kChildren = 4;
  struct Entry {
    std::int64_t at_ns;
    std::uint64_t order;
    TimerNode* node;
  };
  static bool before(const Entry& a, const Entry& b) noexcept {
    return a.at_ns != b.at_ns ? a.at_ns < b.at_ns : a.order < b.order;
  }
  void place(std::size_t index, const Entry& entry) noexcept;
  void sift_up(std::size_t index, const Entry& entry) noexcept;
  void sift_down(std::size_t index, const Entry& entry) noexcept;
  void remove_at(std::size_t index) noexcept;
  void publish() noexcept;

  Spinlock lock_;  // guards all below
  std::vector<Entry> heap_;
  std::uint64_t armed_ = 0;
  std::atomic<std::int64_t> earliest_{kNothing};
};

}  // namespace weft::sched
