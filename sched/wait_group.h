// sched/wait_group.h - waits until a changing number of tasks has ended; counted down once, a latch.
//
// add() before the task starts, done() when it ends; wait() returns when the count is zero. For fibers and plain threads.
// Tests: tests/sched/semaphore_test.cc.
#pragma once

#include <cstdint>

#include "sched/condition_variable.h"

namespace weft::sched {

class WaitGroup {
 public:
  explicit WaitGroup(std::uint64_t count = 0) noexcept : count_(count) {}
  void add(std::uint64_t count = 1) {
    const std::lock_guard guard(lock_);
    count_ += count;
  }
  void done() {
    const std::lock_guard guard(lock_);
    if (--count_ == 0) zero_.notify_all();
  }
  void wait() {
    std::unique_lock guard(lock_);
    zero_.wait(guard, [this] { return count_ == 0; });
  }
  // kTimedOut, kCancelled.
  Status wait_until(Deadline deadline) {
    std::unique_lock guard(lock_);
    return zero_.wait_until(guard, deadline, [this] { return count_ == 0; });
  }

 private:
  Mutex lock_;
  ConditionVariable zero_;
  std::uint64_t count_;  // guarded by lock_
};

}  // namespace weft::sched
