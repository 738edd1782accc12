// sched/condition_variable.h - wait until something is so, under a lock.
//
// As std::condition_variable_any, for fibers and plain threads, with any lock that has lock() and unlock(): a std::unique_lock
// of a Mutex, a std::shared_lock of a SharedMutex. Wake-ups may come without cause, so use the forms with a predicate. All
// waits park, and hold the lock again when they return.
//
// The forms with a Deadline return a Status and are cancellation points: kTimedOut, kCancelled. The forms of the standard library
// (time points, durations, std::stop_token) do not end because the fiber is asked to stop, but for its own token given as one.
// Tests: tests/sched/condition_variable_test.cc.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <utility>

#include "kernel/result.h"
#include "sched/deadline.h"
#include "sched/mutex.h"
#include "sched/steady_clock.h"

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

  // Do not park. The lock need not be held.
  void notify_one() noexcept;
  void notify_all() noexcept;

  template <typename Lock>
  void wait(Lock& lock) {
    wait_once(lock, Deadline::never(), false, nullptr);
  }
  template <typename Lock, typename Predicate>
  void wait(Lock& lock, Predicate predicate) {
    while (!predicate()) wait(lock);
  }

  // Success: the predicate holds.
  template <typename Lock, typename Predicate>
  Status wait_until(Lock& lock, Deadline deadline, Predicate predicate) {
    while (!predicate()) {
      const Outcome outcome = wait_once(lock, deadline, true, nullptr);
      if (outcome == Outcome::kNotified || predicate()) continue;
      return status_of(outcome);
    }
    return {};
  }

  template <typename Lock, typename Clock, typename Duration>
  std::cv_status wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& at) {
    return cv_status_of(wait_once(lock, deadline_at(at), false, nullptr));
  }
  template <typename Lock, typename Rep, typename Period>
  std::cv_status wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& timeout) {
    return cv_status_of(wait_once(lock, deadline_after(timeout), false, nullptr));
  }
  // What the predicate says at the end.
  template <typename Lock, typename Clock, typename Duration, typename Predicate>
  bool wait_until(Lock& lock, const std::chrono::time_point<Clock, Duration>& at, Predicate predicate) {
    return wait_stoppable(lock, nullptr, deadline_at(at), predicate);
  }
  template <typename Lock, typename Rep, typename Period, typename Predicate>
  bool wait_for(Lock& lock, const std::chrono::duration<Rep, Period>& timeout, Predicate predicate) {
    return wait_stoppable(lock, nullptr, deadline_after(timeout), predicate);
  }
  template <typename Lock, typename Predicate>
  bool wait(Lock& lock, const std::stop_token& token, Predicate predicate) {
    return wait_with(lock, token, Deadline::never(), predicate);
  }
  template <typename Lock, typename Clock, typename Duration, typename Predicate>
  bool wait_until(Lock& lock, const std::stop_token& token, const std::chrono::time_point<Clock, Duration>& at,
                  Predicate predicate) {
    return wait_with(lock, token, deadline_at(at), predicate);
  }
  template <typename Lock, typename Rep, typename Period, typename Predicate>
  bool wait_for(Lock& lock, const std::stop_token& token, const std::chrono::duration<Rep, Period>& timeout,
                Predicate predicate) {
    return wait_with(lock, token, deadline_after(timeout), predicate);
  }

 private:
  static std::cv_status cv_status_of(Outcome outcome) noexcept {
    return outcome == Outcome::kTimedOut ? std::cv_status::timeout : std::cv_status::no_timeout;
  }

  template <typename Lock>
  Outcome wait_once(Lock& lock, Deadline deadline, bool cancellable, const std::stop_token* token) {
    Waiter waiter;
    enqueue(waiter);  // before the lock is let go: a notify after that cannot miss it
    // A stop requested from here on finds it queued. One that came before has told those who waited then.
    if (token != nullptr && token->stop_requested() && waiter.claim(Outcome::kCancelled)) {
      leave(waiter);
      return Outcome::kCancelled;
    }
    lock.unlock();
    const Outcome outcome = waiter.park("condition", deadline, cancellable, this);
    if (outcome != Outcome::kNotified) leave(waiter);
    lock.lock();
    return outcome;
  }
  template <typename Lock, typename Predicate>
  bool wait_stoppable(Lock& lock, const std::stop_token* token, Deadline deadline, Predicate& predicate) {
    while (!predicate()) {
      if (token != nullptr && token->stop_requested()) return false;
      if (wait_once(lock, deadline, false, token) != Outcome::kNotified) return predicate();
    }
    return true;
  }
  template <typename Lock, typename Predicate>
  bool wait_with(Lock& lock, const std::stop_token& token, Deadline deadline, Predicate& predicate) {
    const std::stop_callback wake(token, [this]() noexcept { wake_all(); });
    return wait_stoppable(lock, &token, deadline, predicate);
  }
  void enqueue(Waiter& waiter) noexcept;
  void leave(Waiter& waiter) noexcept;
  void wake_all() noexcept;

  Spinlock queue_lock_;
  WaitQueue queue_;  // guarded by queue_lock_
};

}  // namespace weft::sched
