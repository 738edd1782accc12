// sched/waiter.h - one fiber or plain thread that waits for one thing.
//
//   mutex, channel, sleep, io ...  ->  [waiter]  ->  worker (fiber) or futex (thread)
//
// Lives on the waiting stack. Whoever wants to end the wait (an unlocker, a timer, a stop request) must first claim() it,
// which exactly one can, and then resume() it, which is the last thing it may do with it.
//
// Invariants   W1  outcome_ leaves kPending once, by the claimer; only the claimer calls resume(), once
//              W2  losers of the claim touch the waiter only under the lock of the structure they found it in; park()
//                  takes those locks to get out of the structures before it returns
//              W3  park() returns only after resume()
// Locks: none of its own. Structures may hold their spinlock over claim() and resume(); neither parks.
// Tests: with all that waits; in every interleaving: tests/sched/parking_model_test.cc.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernel/result.h"
#include "sched/deadline.h"

namespace weft::sched {

struct FiberState;
class Waiter;

enum class Outcome : std::uint32_t { kPending, kNotified, kHandedOver, kTimedOut, kCancelled };

// For calls that cannot end early in another way.
inline Status status_of(Outcome outcome) noexcept {
  if (outcome == Outcome::kTimedOut) return fail(Errc::kTimedOut);
  if (outcome == Outcome::kCancelled) return fail(Errc::kCancelled);
  return {};
}

// A place in a worker's timers.
struct TimerNode {
  static constexpr std::uint32_t kNone = ~0U;
  std::uint32_t index = kNone;  // in the heap; guarded by the heap's lock
  Waiter* waiter = nullptr;
};

class Waiter {
 public:
  // For the calling fiber or thread.
  Waiter() noexcept;
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Parks until resumed, the deadline passes, or, if `cancellable`, the fiber is asked to stop. `reason` is a literal
  // that the inspector shows. Leaves queues to the caller: on kTimedOut and kCancelled it may still be linked in one.
  // `on` is what it waits for, for the inspector to show the address of.
  Outcome park(const char* reason, Deadline deadline = Deadline::never(), bool cancellable = false,
               const void* on = nullptr) noexcept;

  // True for the one who may end the wait.
  bool claim(Outcome outcome) noexcept {
    auto expected = Outcome::kPending;
    return outcome_.compare_exchange_strong(expected, outcome, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  void resume() noexcept;
  [[nodiscard]] FiberState* fiber() const noexcept { return fiber_; }

  // By the worker, once the fiber's context is saved. False: resume() came first, and the fiber is to run on.
  bool commit_park() noexcept {
    auto expected = kAwake;
    return phase_.compare_exchange_strong(expected, kParked, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  [[nodiscard]] bool resumed() const noexcept { return phase_.load(std::memory_order_acquire) == kResumed; }

  // For the structure that queues it; guarded by its lock.
  Waiter* next = nullptr;
  Waiter* previous = nullptr;
  bool linked = false;
  bool exclusive = true;    // SharedMutex: wants to write
  void* payload = nullptr;  // channel: the value's place

 private:
  static constexpr std::uint32_t kAwake = 0, kParked = 1, kResumed = 2;
  void park_thread(Deadline deadline) noexcept;
  void park_fiber(const char* reason, Deadline deadline, const void* on) noexcept;

  FiberState* const fiber_;  // null: a plain thread
  std::atomic<std::uint32_t> phase_{kAwake};
  std::atomic<Outcome> outcome_{Outcome::kPending};
};

// First come, first served. Its owner's lock guards it.
class WaitQueue {
 public:
  [[nodiscard]] bool empty() const noexcept { return head_ == nullptr; }
  [[nodiscard]] Waiter* front() const noexcept { return head_; }
  void push_back(Waiter& waiter) noexcept {
    waiter.next = nullptr;
    waiter.previous = tail_;
    (tail_ != nullptr ? tail_->next : head_) = &waiter;
    tail_ = &waiter;
    waiter.linked = true;
  }
  void push_front(Waiter& waiter) noexcept {
    waiter.previous = nullptr;
    waiter.next = head_;
    (head_ != nullptr ? head_->previous : tail_) = &waiter;
    head_ = &waiter;
    waiter.linked = true;
  }
  // No matter if it is in.
  void remove(Waiter& waiter) noexcept {
    if (!waiter.linked) return;
    (waiter.previous != nullptr ? waiter.previous->next : head_) = waiter.next;
    (waiter.next != nullptr ? waiter.next->previous : tail_) = waiter.previous;
    waiter.linked = false;
  }
  // Takes out and claims the first one that nobody else has claimed; the caller resumes it. Null if there is none.
  Waiter* claim_first(Outcome outcome = Outcome::kNotified) noexcept {
    while (head_ != nullptr) {
      Waiter* waiter = head_;
      remove(*waiter);
      if (waiter->claim(outcome)) return waiter;
    }
    return nullptr;
  }
  // All that nobody else has claimed come over from `from`, claimed; then resume_all() without the lock.
  void take_claimed(WaitQueue& from) noexcept {
    while (Waiter* waiter = from.claim_first()) push_back(*waiter);
  }
  void resume_all() noexcept {
    while (Waiter* waiter = head_) {
      remove(*waiter);
      waiter->resume();
    }
  }

 private:
  Waiter* head_ = nullptr;
  Waiter* tail_ = nullptr;
};

}  // namespace weft::sched
