#include "sched/mutex.h"

#include <mutex>

#include "kernel/check.h"

namespace weft::sched {

bool Mutex::lock_slow(Deadline deadline) {
  bool overtaken = false;
  for (;;) {
    Waiter waiter;
    {
      const std::lock_guard guard(queue_lock_);
      std::uint32_t word = word_.load(std::memory_order_relaxed);
      for (;;) {
        if ((word & kLocked) == 0) {
          if (word_.compare_exchange_weak(word, word | kLocked, std::memory_order_acquire, std::memory_order_relaxed))
            return true;
        } else if ((word & kWaiters) != 0 ||
                   word_.compare_exchange_weak(word, word | kWaiters, std::memory_order_relaxed,
                                               std::memory_order_relaxed)) {
          break;
        }
      }
      waiter.exclusive = overtaken;  // here: wants to be handed the lock
      if (overtaken) {
        queue_.push_front(waiter);
      } else {
        queue_.push_back(waiter);
      }
    }
    const Outcome outcome = waiter.park("mutex", deadline, false, this);
    if (outcome == Outcome::kHandedOver) return true;
    if (outcome == Outcome::kTimedOut) {
      const std::lock_guard guard(queue_lock_);
      queue_.remove(waiter);
      if (queue_.empty()) word_.fetch_and(~kWaiters, std::memory_order_relaxed);
      return false;
    }
    overtaken = true;
  }
}

void Mutex::unlock_slow() {
  Waiter* waiter = nullptr;
  {
    const std::lock_guard guard(queue_lock_);
    bool handed_over = false;
    while (waiter == nullptr && !queue_.empty()) {
      Waiter* first = queue_.front();
      handed_over = first->exclusive;
      queue_.remove(*first);
      if (first->claim(handed_over ? Outcome::kHandedOver : Outcome::kNotified)) waiter = first;
    }
    const std::uint32_t others = queue_.empty() ? 0 : kWaiters;
    const bool keeps_locked = waiter != nullptr && handed_over;
    word_.store(others | (keeps_locked ? kLocked : 0), std::memory_order_release);
  }
  if (waiter != nullptr) waiter->resume();
}

// queue_lock_ is held. Lets in from the front of the queue whoever may come in now.
void SharedMutex::grant() {
  while (Waiter* first = queue_.front()) {
    const std::uint32_t word = word_.load(std::memory_order_relaxed);
    if ((word & kLocked) != 0 || (first->exclusive && word >= kReader)) return;
    queue_.remove(*first);
    if (!first->claim(Outcome::kHandedOver)) continue;
    word_.store(word + (first->exclusive ? kLocked : kReader), std::memory_order_relaxed);
    first->resume();
  }
  // Nobody waits any more; from here on the fast paths work again.
  word_.fetch_and(~kWaiters, std::memory_order_release);
}

bool SharedMutex::wait(bool exclusive, Deadline deadline) {
  Waiter waiter;
  waiter.exclusive = exclusive;
  {
    const std::lock_guard guard(queue_lock_);
    word_.fetch_or(kWaiters, std::memory_order_acquire);
    queue_.push_back(waiter);
    grant();  // it may have come free meanwhile
  }
  if (waiter.park(exclusive ? "shared_mutex" : "shared_mutex (shared)", deadline, false, this) == Outcome::kHandedOver)
    return true;
  const std::lock_guard guard(queue_lock_);
  queue_.remove(waiter);
  grant();  // those behind it may have waited for it only
  return false;
}

void SharedMutex::release(std::uint32_t held) {
  const std::lock_guard guard(queue_lock_);
  const std::uint32_t before = word_.fetch_sub(held, std::memory_order_acq_rel);
  WEFT_CHECK(held == kLocked ? (before & kLocked) != 0 : before >= kReader);
  grant();
}

}  // namespace weft::sched
