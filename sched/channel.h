// sched/channel.h - a bounded queue of values between fibers and plain threads.
//
// send() waits while it is full, receive() while it is empty. After close() sends fail with kClosed, and receives deliver what
// is there and then fail with kClosed. Both are cancellation points: kTimedOut, kCancelled; a value not sent stays the caller's.
// Many senders and receivers; values arrive in the order they were sent. Tests: tests/sched/channel_test.cc.
#pragma once

#include <cstddef>
#include <deque>
#include <utility>

#include "kernel/check.h"
#include "kernel/result.h"
#include "sched/condition_variable.h"

namespace weft::sched {

template <typename T>
class Channel {
 public:
  explicit Channel(std::size_t capacity) : capacity_(capacity) { WEFT_CHECK(capacity > 0); }

  Status send(T&& value, Deadline deadline = Deadline::never()) {
    std::unique_lock guard(lock_);
    WEFT_TRY(room_.wait_until(guard, deadline, [this] { return closed_ || values_.size() < capacity_; }));
    if (closed_) return fail(Errc::kClosed);
    values_.push_back(std::move(value));
    guard.unlock();
    filled_.notify_one();
    return {};
  }
  Status send(const T& value, Deadline deadline = Deadline::never()) { return send(T(value), deadline); }

  Result<T> receive(Deadline deadline = Deadline::never()) {
    std::unique_lock guard(lock_);
    WEFT_TRY(filled_.wait_until(guard, deadline, [this] { return closed_ || !values_.empty(); }));
    if (values_.empty()) return fail(Errc::kClosed);
    T value = std::move(values_.front());
    values_.pop_front();
    guard.unlock();
    room_.notify_one();
    return value;
  }

  void close() {
    {
      const std::lock_guard guard(lock_);
      closed_ = true;
    }
    room_.notify_all();
    filled_.notify_all();
  }
  [[nodiscard]] std::size_t size() {
    const std::lock_guard guard(lock_);
    return values_.size();
  }

 private:
  Mutex lock_;
  ConditionVariable room_;
  ConditionVariable filled_;
  const std::size_t capacity_;
  std::deque<T> values_;  // guarded by lock_
  bool closed_ = false;   // guarded by lock_
};

}  // namespace weft::sched
