// sched/latch.h - a gate that opens once, when it has been counted down; as std::latch, for fibers and plain threads.
//
// The latch may be destroyed as soon as wait() has returned, even while the last count_down() is on its way out.
// wait() parks; with a deadline it is a cancellation point: kTimedOut, kCancelled. Count down no further than zero.
// Tests: tests/sched/latch_test.cc.
#pragma once

#include <cstddef>

#include "kernel/result.h"
#include "kernel/spinlock.h"
#include "sched/deadline.h"
#include "sched/waiter.h"

namespace weft::sched {

class Latch {
 public:
  explicit Latch(std::ptrdiff_t expected) noexcept : count_(expected) {}
  ~Latch() {  // as ~Mutex()
    lock_.lock();
    lock_.unlock();
  }
  Latch(const Latch&) = delete;
  Latch& operator=(const Latch&) = delete;

  // Does not park.
  void count_down(std::ptrdiff_t by = 1) noexcept;
  [[nodiscard]] bool try_wait() const noexcept;
  void wait() noexcept;
  Status wait_until(Deadline deadline);
  void arrive_and_wait(std::ptrdiff_t by = 1) noexcept {
    count_down(by);
    wait();
  }

 private:
  Outcome wait(Deadline deadline, bool cancellable) noexcept;

  mutable Spinlock lock_;  // guards all below
  std::ptrdiff_t count_;
  WaitQueue queue_;
};

}  // namespace weft::sched
