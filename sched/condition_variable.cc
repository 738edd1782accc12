#include "sched/condition_variable.h"

#include "sched/current.h"

namespace weft::sched {

void ConditionVariable::enqueue(Waiter& waiter) noexcept {
  const std::lock_guard guard(queue_lock_);
  queue_.push_back(waiter);
}

void ConditionVariable::leave(Waiter& waiter) noexcept {
  const std::lock_guard guard(queue_lock_);
  queue_.remove(waiter);
}

void ConditionVariable::notify_one() noexcept {
  simulation_point();
  Waiter* waiter = nullptr;
  {
    const std::lock_guard guard(queue_lock_);
    waiter = queue_.claim_first();
  }
  if (waiter != nullptr) waiter->resume();
}

void ConditionVariable::notify_all() noexcept {
  simulation_point();
  wake_all();
}

void ConditionVariable::wake_all() noexcept {
  // Those who begin to wait meanwhile are not meant.
  WaitQueue claimed;
  {
    const std::lock_guard guard(queue_lock_);
    claimed.take_claimed(queue_);
  }
  claimed.resume_all();
}

}  // namespace weft::sched
