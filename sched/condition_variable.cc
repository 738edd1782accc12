#include "sched/condition_variable.h"

namespace weft::sched {

Outcome ConditionVariable::wait_once(std::unique_lock<Mutex>& lock, Deadline deadline, bool cancellable) {
  Waiter waiter;
  {
    // Queued before the mutex is let go: a notify after that cannot miss it.
    const std::lock_guard guard(queue_lock_);
    queue_.push_back(waiter);
  }
  lock.unlock();
  const Outcome outcome = waiter.park("condition", deadline, cancellable);
  if (outcome != Outcome::kNotified) {
    const std::lock_guard guard(queue_lock_);
    queue_.remove(waiter);
  }
  lock.lock();
  return outcome;
}

void ConditionVariable::notify_one() {
  simulation_point();
  Waiter* waiter = nullptr;
  {
    const std::lock_guard guard(queue_lock_);
    waiter = queue_.claim_first();
  }
  if (waiter != nullptr) waiter->resume();
}

void ConditionVariable::notify_all() {
  simulation_point();
  // Those who begin to wait meanwhile are not meant.
  WaitQueue claimed;
  {
    const std::lock_guard guard(queue_lock_);
    while (Waiter* waiter = queue_.claim_first()) claimed.push_back(*waiter);
  }
  while (Waiter* waiter = claimed.front()) {
    claimed.remove(*waiter);
    waiter->resume();
  }
}

}  // namespace weft::sched
