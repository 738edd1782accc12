// sched/channel_core.h - a channel but for its values: its lock, who waits at it, how full it is. Internal to sched/.
//
//   Channel<T>, select -> [ChannelCore] -> waiter
//
// A wait at a channel is a ChannelWait on the waiting stack. A select has several, one in each of its channels' queues, and one
// Waiter for all: whoever claims that Waiter has won it for its channel alone, and the others find it claimed and pass on.
//
// Invariants   H1  values are in the buffer only while no receiver waits, and senders wait only while it is full
//              H2  a wait is taken out of its queue by its claimer, or by its owner after the park
// Locks        lock_: a leaf, but that a select holds those of its channels, in the order of their addresses. Values are
//              moved under it, which is why their move constructors may not throw.
// Tests: tests/sched/channel_test.cc, select_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernel/spinlock.h"
#include "sched/deadline.h"
#include "sched/waiter.h"

namespace weft::sched {

struct ChannelWait {
  Waiter* waiter = nullptr;
  void* place = nullptr;  // a sender's value, or the std::optional that a receiver wants filled
  bool chosen = false;    // written by the claimer of the Waiter: it was this wait that came about
  bool linked = false;    // this and the links are guarded by the channel's lock
  ChannelWait* next = nullptr;
  ChannelWait* previous = nullptr;
};

// First come, first served. Guarded by its channel's lock.
class ChannelQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] ChannelWait* front() const noexcept { return head_; }
  void push_back(ChannelWait& wait) noexcept {
    wait.next = nullptr;
    wait.previous = tail_;
    (tail_ != nullptr ? tail_->next : head_) = &wait;
    tail_ = &wait;
    wait.linked = true;
  }
  // No matter if it is in.
  void remove(ChannelWait& wait) noexcept {
    if (!wait.linked) return;
    (wait.previous != nullptr ? wait.previous->next : head_) = wait.next;
    (wait.next != nullptr ? wait.next->previous : tail_) = wait.previous;
    wait.linked = false;
  }
  // As WaitQueue's. Its waiter stays where it is until it is resumed.
  ChannelWait* claim_first(Outcome outcome) noexcept {
    while (head_ != nullptr) {
      ChannelWait* wait = head_;
      remove(*wait);
      if (!wait->waiter->claim(outcome)) continue;
      wait->chosen = true;
      return wait;
    }
    return nullptr;
  }

 private:
  ChannelWait* head_ = nullptr;
  ChannelWait* tail_ = nullptr;
};

enum class ChannelStep : std::uint8_t { kDone, kClosed, kWouldWait };

class ChannelCore {
 public:
  ChannelCore(const ChannelCore&) = delete;
  ChannelCore& operator=(const ChannelCore&) = delete;

  // Sends fail from now on, also those that wait; receives deliver what is there, and then fail. Again: no effect. Does not park.
  void close() noexcept;
  [[nodiscard]] bool closed() const noexcept;
  // Values in the buffer.
  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 protected:
  explicit ChannelCore(std::size_t capacity) noexcept : capacity_(capacity) {}
  ~ChannelCore() {  // as ~Mutex()
    lock_.lock();
    lock_.unlock();
  }

  // Parks in one of the queues. lock_ is held before, and free afterwards. kHandedOver: the value has changed hands;
  // kNotified: closed.
  Outcome wait(ChannelQueue& queue, void* place, const char* reason, Deadline deadline) noexcept;

  const std::size_t capacity_;
  mutable Spinlock lock_;  // guards all below
  bool closed_ = false;
  std::size_t size_ = 0;
  std::size_t head_ = 0;  // of the oldest value in the ring
  ChannelQueue senders_;
  ChannelQueue receivers_;
  std::uint32_t random_ = 0x9E3779B9U;  // for selects in which this channel is locked first

 private:
  friend class SelectCase;
  friend class Selection;
};

}  // namespace weft::sched
