// sched/waiter.h - one fiber or plain thread that waits for one thing.
//
//   mutex, channel, sleep, io ...  ->  [waiter]  ->  worker (fiber) or futex (thread)
//
// Lives on the waiting stack. Whoever wants to end the wait (an unlocker, a timer) must first claim() it,
// which exactly one can, and then resume() it, which is the last thing it may do with it.
//
// What they compete for is one word: how the wait ended, and how far the waiting side is, so that a wait that has parked is ended by
// one atomic and no other. A fiber has such a word of its own, whose upper bits count its waits. So a stop request, which knows the
// fiber and not the waiter, ends the wait by that word alone; it finds a later wait there, or none, but never a waiter that is gone.
//
// Invariants   W1  the outcome leaves kPending once, by the claimer; only the claimer calls resume(), once
//              W2  losers of the claim touch the waiter only under the lock of the structure they found it in; park()
//                  takes those locks to get out of the structures before it returns
//              W3  park() returns only after resume()
//              W4  a stop request sets stop_requested and then looks at the word; who parks changes the word and then looks at
//                  stop_requested. Both are sequentially consistent, so one of the two sees the other.
//              W5  a fiber's word is one Waiter's from its making until its park() returns; one that is made in between has its
//                  own, and is not cancellable
// Locks: none of its own. Structures may hold their spinlock over claim() and resume(); neither parks.
// Tests: with all that waits; in every interleaving: tests/sched/wait_model_test.cc.
#pragma once

#include <atomic>
#include <cstdint>

#include "kernel/result.h"
#include "sched/deadline.h"

namespace weft::sched {

struct FiberState;
class Scheduler;
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
  std::uint32_t index = kNone;  // where; guarded by the lock of the Timers
  Waiter* waiter = nullptr;
};

// What the ends of a wait compete for.
struct WaitWord {
  static constexpr std::uint64_t kOutcome = 7, kParked = 8, kCancellable = 16, kResumed = 32;
  static constexpr std::uint64_t kFlags = 255;  // the bits above count waits

  // Of a wait that has parked like that and is not claimed yet: true for the one who may resume it.
  bool cancel(std::uint64_t parked) noexcept {
    return word.compare_exchange_strong(parked, parked | static_cast<std::uint64_t>(Outcome::kCancelled),
                                        std::memory_order_acq_rel, std::memory_order_relaxed);
  }

  std::atomic<std::uint64_t> word{0};
  bool taken = false;  // its owner's own: there is a Waiter
};

class Waiter {
 public:
  // For the calling fiber or thread.
  Waiter() noexcept;
  ~Waiter() { word_.taken = false; }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

  // Parks until resumed, the deadline passes, or, if `cancellable`, the fiber is asked to stop. `reason` is a literal
  // that the inspector shows. Leaves queues to the caller: on kTimedOut and kCancelled it may still be linked in one.
  // `on` is what it waits for, for the inspector to show the address of.
  Outcome park(const char* reason, Deadline deadline = Deadline::never(), bool cancellable = false,
               const void* on = nullptr) noexcept;

  // True for the one who may end the wait.
  bool claim(Outcome outcome) noexcept {
    std::uint64_t word = word_.word.load(std::memory_order_relaxed);
    do {
      if ((word & ~(WaitWord::kParked | WaitWord::kCancellable)) != number_) return false;
    } while (!word_.word.compare_exchange_weak(word, word | static_cast<std::uint64_t>(outcome),
                                               std::memory_order_acq_rel, std::memory_order_relaxed));
    return true;
  }
  void resume() noexcept;

  // By the worker, once the fiber's context is saved. False: resume() came first, or a stop request, and the fiber is to run on.
  bool commit_park() noexcept;
  [[nodiscard]] bool resumed() const noexcept {
    return (word_.word.load(std::memory_order_acquire) & WaitWord::kResumed) != 0;
  }

  // For the structure that queues it; guarded by its lock.
  Waiter* next = nullptr;
  Waiter* previous = nullptr;
  bool linked = false;
  bool exclusive = true;    // SharedMutex: wants to write
  void* payload = nullptr;  // channel: the value's place

 private:
  friend struct FiberState;
  [[nodiscard]] Outcome outcome() const noexcept {
    return static_cast<Outcome>(word_.word.load(std::memory_order_acquire) & WaitWord::kOutcome);
  }
  void park_thread(Deadline deadline) noexcept;
  void park_fiber(const char* reason, Deadline deadline, const void* on) noexcept;
  static FiberState* own_self() noexcept;
  static void wake_thread(WaitWord& word) noexcept;

  FiberState* const self_;      // the fiber or stand-in; null: another thread
  Scheduler* const scheduler_;  // null: a plain thread
  WaitWord own_;
  WaitWord& word_;
  const std::uint64_t number_;  // the word as it is at first: the wait's count
  std::uint64_t parks_as_ = WaitWord::kParked;
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
