// sched/condition_variable.h - wait for a condition under a sched::Mutex.
//
// As std::condition_variable, for fibers and plain threads: wake-ups may come without cause, so use the forms with a predicate.
// The forms that return a Status are cancellation points: kTimedOut, kCancelled; the mutex is held again whatever they return.
// Tests: tests/sched/condition_variable_test.cc.
#pragma once

#include <chrono>
#include <mutex>

#include "kernel/result.h"
#include "sched/deadline.h"
#include "sched/mutex.h"

namespace weft::sched {

class ConditionVariable {
 public:
  ConditionVariable() noexcept = default;
  ~ConditionVariable() {  // as ~Mutex()
    queue_lock_.lock();
    queue_lock_.unlock();
  }
  ConditionVariable(const ConditionVariable&) = delete;
  ConditionVariable& operator=(const ConditionVariable&) = delete;

  void wait(std::unique_lock<Mutex>& lock) { wait_once(lock, Deadline::never(), false); }
  template <typename Predicate>
  void wait(std::unique_lock<Mutex>& lock, Predicate predicate) {
    while (!predicate()) wait(lock);
  }

  // What the predicate says at the end.
  template <typename Predicate>
  bool wait_for(std::unique_lock<Mutex>& lock, std::chrono::nanoseconds timeout, Predicate predicate) {
    const Deadline deadline = Deadline::after(timeout);
    while (!predicate())
      if (wait_once(lock, deadline, false) == Outcome::kTimedOut) return predicate();
    return true;
  }
  // Success: the predicate holds.
  template <typename Predicate>
  Status wait_until(std::unique_lock<Mutex>& lock, Deadline deadline, Predicate predicate) {
    while (!predicate()) {
      const Outcome outcome = wait_once(lock, deadline, true);
      if (outcome == Outcome::kNotified || predicate()) continue;
      return fail(outcome == Outcome::kCancelled ? Errc::kCancelled : Errc::kTimedOut);
    }
    return {};
  }

  void notify_one();
  void notify_all();

 private:
  Outcome wait_once(std::unique_lock<Mutex>& lock, Deadline deadline, bool cancellable);

  Spinlock queue_lock_;
  WaitQueue queue_;  // guarded by queue_lock_
};

}  // namespace weft::sched
