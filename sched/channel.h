// sched/channel.h - a queue of values between fibers and plain threads, bounded or a rendezvous.
//
//   sched::Channel<Job> jobs(16);                  // 0: each send waits for its receive
//   TRY(jobs.send(std::move(job)));                // on one side; jobs.close() at the end
//   for (Job& job : jobs) work_on(job);            // on the other
//
// Any number of senders and receivers. Values arrive in the order they were sent. Those who wait are served first come, first
// served, and a newcomer never overtakes them. A value for somebody who waits is handed straight to it, and on the same
// worker it runs next.
//
// send() waits while the buffer is full, receive() while it is empty: both may park, and are then cancellation points.
//   kClosed     after close(); receives first deliver what is still in the buffer
//   kTimedOut, kCancelled    what could be done at once is done even so
//   kAgain      of the forms with try_, which do not park: they would have had to wait
// A value that was not sent stays the caller's.
//
// After communicating sequential processes (Hoare 1978), the queues of Go's channels. T's move constructor does not throw.
// To wait at several: sched/select.h. Tests: tests/sched/channel_test.cc, select_test.cc.
#pragma once

#include <cstddef>
#include <iterator>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include "kernel/result.h"
#include "sched/budget.h"
#include "sched/channel_core.h"
#include "sched/current.h"

namespace weft::sched {

template <typename T>
class Channel : public ChannelCore {
  static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>);

 public:
  explicit Channel(std::size_t capacity) : ChannelCore(capacity) {
    if (capacity != 0) slots_ = std::allocator<T>().allocate(capacity);
  }
  // Nobody may wait there any more.
  ~Channel() {
    lock_.lock();  // lets a close() or a send() out that has let the destroyer in and is about to return
    lock_.unlock();
    for (std::size_t nth = 0; nth < size_; ++nth) std::destroy_at(slot(nth));
    if (slots_ != nullptr) std::allocator<T>().deallocate(slots_, capacity_);
  }

  Status send(T&& value, Deadline deadline = Deadline::never()) {
    simulation_point();
    spend_budget();
    Waiter* woken = nullptr;
    lock_.lock();
    switch (put(value, woken)) {
      case ChannelStep::kDone:
        lock_.unlock();
        if (woken != nullptr) woken->resume();
        return {};
      case ChannelStep::kClosed: lock_.unlock(); return fail(Errc::kClosed);
      case ChannelStep::kWouldWait: break;
    }
    const Outcome outcome = wait(senders_, &value, "channel send", deadline);
    if (outcome == Outcome::kHandedOver) [[likely]]
      return {};
    return fail(error_of(outcome));
  }
  Status send(const T& value, Deadline deadline = Deadline::never()) { return send(T(value), deadline); }

  Status try_send(T&& value) {
    simulation_point();
    Waiter* woken = nullptr;
    lock_.lock();
    const ChannelStep step = put(value, woken);
    lock_.unlock();
    if (woken != nullptr) woken->resume();
    return step == ChannelStep::kDone ? Status() : fail(error_of(step));
  }
  Status try_send(const T& value) { return try_send(T(value)); }

  Result<T> receive(Deadline deadline = Deadline::never()) {
    simulation_point();
    spend_budget();
    std::optional<T> value;
    Waiter* woken = nullptr;
    lock_.lock();
    switch (take(value, woken)) {
      case ChannelStep::kDone:
        lock_.unlock();
        if (woken != nullptr) woken->resume();
        return *std::move(value);
      case ChannelStep::kClosed: lock_.unlock(); return fail(Errc::kClosed);
      case ChannelStep::kWouldWait: break;
    }
    const Outcome outcome = wait(receivers_, &value, "channel receive", deadline);
    if (outcome == Outcome::kHandedOver) [[likely]]
      return *std::move(value);
    return fail(error_of(outcome));
  }

  Result<T> try_receive() {
    simulation_point();
    std::optional<T> value;
    Waiter* woken = nullptr;
    lock_.lock();
    const ChannelStep step = take(value, woken);
    lock_.unlock();
    if (woken != nullptr) woken->resume();
    if (step != ChannelStep::kDone) return fail(error_of(step));
    return *std::move(value);
  }

  // An input range of what is received; it ends when receive() fails: closed, or the fiber was asked to stop.
  class Iterator {
   public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(Channel& channel) : channel_(&channel) { ++*this; }
    T& operator*() const noexcept { return *value_; }
    T* operator->() const noexcept { return &*value_; }
    Iterator& operator++() {
      value_.reset();
      if (auto received = channel_->receive()) value_.emplace(*std::move(received));
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) noexcept { return !it.value_.has_value(); }

   private:
    Channel* channel_;
    mutable std::optional<T> value_;
  };
  Iterator begin() { return Iterator(*this); }
  std::default_sentinel_t end() const noexcept { return {}; }

 private:
  template <typename, typename>
  friend class SendCase;
  template <typename, typename>
  friend class ReceiveCase;

  static Errc error_of(ChannelStep step) noexcept {
    return step == ChannelStep::kClosed ? Errc::kClosed : Errc::kAgain;
  }
  static Errc error_of(Outcome outcome) noexcept {
    if (outcome == Outcome::kNotified) return Errc::kClosed;
    return outcome == Outcome::kCancelled ? Errc::kCancelled : Errc::kTimedOut;
  }

  T* slot(std::size_t nth) noexcept {
    const std::size_t index = head_ + nth;
    return slots_ + (index < capacity_ ? index : index - capacity_);
  }
  // lock_ is held for both. `woken` is to be resumed when it is free.
  ChannelStep put(T& value, Waiter*& woken) noexcept {
    if (closed_) return ChannelStep::kClosed;
    if (ChannelWait* receiver = receivers_.claim_first(Outcome::kHandedOver)) {
      static_cast<std::optional<T>*>(receiver->place)->emplace(std::move(value));
      woken = receiver->waiter;
      return ChannelStep::kDone;
    }
    if (size_ == capacity_) return ChannelStep::kWouldWait;
    std::construct_at(slot(size_), std::move(value));
    ++size_;
    return ChannelStep::kDone;
  }
  ChannelStep take(std::optional<T>& into, Waiter*& woken) noexcept {
    const bool from_buffer = size_ != 0;
    if (from_buffer) {
      T* oldest = slot(0);
      into.emplace(std::move(*oldest));
      std::destroy_at(oldest);
      head_ = head_ + 1 == capacity_ ? 0 : head_ + 1;
      --size_;
    }
    if (from_buffer || capacity_ == 0) {
      // The first that waits has its turn: its value goes where there is room now.
      if (ChannelWait* sender = senders_.claim_first(Outcome::kHandedOver)) {
        auto* value = static_cast<T*>(sender->place);
        if (from_buffer) {
          std::construct_at(slot(size_), std::move(*value));
          ++size_;
        } else {
          into.emplace(std::move(*value));
        }
        woken = sender->waiter;
        return ChannelStep::kDone;
      }
    }
    if (from_buffer) return ChannelStep::kDone;
    return closed_ ? ChannelStep::kClosed : ChannelStep::kWouldWait;
  }

  T* slots_ = nullptr;  // a ring of capacity_ places, size_ of them live; guarded by lock_
};

}  // namespace weft::sched
