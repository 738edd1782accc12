// sched/semaphore.h - a count of permits that fibers and plain threads wait for, first come, first served.
//
// acquire(count) waits until that many are there at once; a large wish is not overtaken by small ones behind it.
// Tests: tests/sched/semaphore_test.cc.
#pragma once

#include <cstdint>

#include "kernel/result.h"
#include "kernel/spinlock.h"
#include "sched/deadline.h"
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

  // kTimedOut, kCancelled; nothing is taken then.
  Status acquire(std::uint64_t count = 1, Deadline deadline = Deadline::never());
  bool try_acquire(std::uint64_t count = 1) noexcept;
  void release(std::uint64_t count = 1) noexcept;
  [[nodiscard]] std::uint64_t available() const noexcept;

 private:
  void grant() noexcept;

  mutable Spinlock lock_;  // guards all below
  std::uint64_t permits_;
  WaitQueue queue_;  // a waiter's payload points at its count
};

}  // namespace weft::sched
