// sched/semaphore.h - a count of permits that fibers and plain threads wait for, first come, first served.
//
// Named as std::counting_semaphore, but that acquire() is a cancellation point and so returns a Status. acquire(count) waits until that many are there at once; a large wish is not overtaken by small ones behind it.
// Tests: tests/sched/semaphore_test.cc.
#pragma once

#include <chrono>
#include <cstdint>

#include "kernel/result.h"
#include "kernel/spinlock.h"
#include "sched/deadline.h"
#include "sched/steady_clock.h"
#include "sched/waiter.h"

namespace weft::sched {

class Semaphore {
 public:
  explicit Semaphore(std::uint64_t permits) noexcept : permits_(permits) {}
  ~Semaphore() {  // as ~Mutex()
    lock_.lock();
    lock_.unlock();
  }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  // Parks. kTimedOut, kCancelled; nothing is taken then.
  Status acquire(std::uint64_t count = 1, Deadline deadline = Deadline::never());
  bool try_acquire(std::uint64_t count = 1) noexcept;
  // False: too late, or asked to stop.
  template <typename Rep, typename Period>
  bool try_acquire_for(const std::chrono::duration<Rep, Period>& timeout) {
    return acquire(1, deadline_after(timeout)).has_value();
  }
  template <typename Clock, typename Duration>
  bool try_acquire_until(const std::chrono::time_point<Clock, Duration>& at) {
    return acquire(1, deadline_at(at)).has_value();
  }
  // Does not park.
  void release(std::uint64_t count = 1) noexcept;
  [[nodiscard]] std::uint64_t available() const noexcept;

 private:
  void grant() noexcept;

  mutable Spinlock lock_;  // guards all below
  std::uint64_t permits_;
  WaitQueue queue_;  // a waiter's payload points at its count
};

}  // namespace weft::sched
