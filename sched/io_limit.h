// sched/io_limit.h - how many requests of a runtime to files may be in flight; who comes later parks. Internal.
//
// Counts what the device ends by itself: reads, writes, flushes. What waits for another (sockets, pipes, polls) is not counted,
// since a limit on that would let those who wait keep out those they wait for. First come, first served; a place that is left
// goes to the next in line. Does not end early, as the calls it guards. Tests: tests/sched/file_test.cc.
#pragma once

#include <cstdint>
#include <mutex>

#include "kernel/spinlock.h"
#include "sched/waiter.h"

namespace weft::sched {

class IoLimit {
 public:
  explicit IoLimit(std::uint32_t most) noexcept : most_(most) {}  // 0: no limit

  [[nodiscard]] std::uint32_t most() const noexcept { return most_; }
  // Parks until there is room for `count`, which is at most most().
  void enter(std::uint32_t count) noexcept {
    Waiter waiter;
    waiter.payload = &count;
    {
      const std::lock_guard guard(lock_);
      if (queue_.empty() && in_flight_ + count <= most_) {
        in_flight_ += count;
        return;
      }
      queue_.push_back(waiter);
    }
    waiter.park("room for io", Deadline::never(), false, this);
  }
  void leave(std::uint32_t count) noexcept {
    const std::lock_guard guard(lock_);
    in_flight_ -= count;
    while (Waiter* first = queue_.front()) {
      const std::uint32_t wish = *static_cast<const std::uint32_t*>(first->payload);
      if (in_flight_ + wish > most_) return;
      in_flight_ += wish;
      queue_.remove(*first);
      if (first->claim(Outcome::kNotified)) first->resume();  // nobody else claims it
    }
  }

 private:
  const std::uint32_t most_;
  Spinlock lock_;  // guards both below
  std::uint32_t in_flight_ = 0;
  WaitQueue queue_;
};

}  // namespace weft::sched
