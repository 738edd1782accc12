#include "sched/semaphore.h"

#include <mutex>

#include "sched/budget.h"
#include "sched/current.h"

namespace weft::sched {

bool Semaphore::try_acquire(std::uint64_t count) noexcept {
  simulation_point();
  const std::lock_guard guard(lock_);
  if (!queue_.empty() || permits_ < count) return false;
  permits_ -= count;
  return true;
}

Status Semaphore::acquire(std::uint64_t count, Deadline deadline) {
  simulation_point();
  spend_budget();
  Waiter waiter;
  waiter.payload = &count;
  {
    const std::lock_guard guard(lock_);
    if (queue_.empty() && permits_ >= count) {
      permits_ -= count;
      return {};
    }
    queue_.push_back(waiter);
  }
  const Outcome outcome = waiter.park("semaphore", deadline, true, this);
  if (outcome == Outcome::kNotified) return {};
  {
    const std::lock_guard guard(lock_);
    queue_.remove(waiter);
    grant();  // it may have been the one whose wish was too large
  }
  return status_of(outcome);
}

// lock_ is held.
void Semaphore::grant() noexcept {
  while (Waiter* first = queue_.front()) {
    const std::uint64_t wish = *static_cast<const std::uint64_t*>(first->payload);
    if (wish > permits_) return;
    queue_.remove(*first);
    if (!first->claim(Outcome::kNotified)) continue;
    permits_ -= wish;
    first->resume();
  }
}

void Semaphore::release(std::uint64_t count) noexcept {
  simulation_point();
  const std::lock_guard guard(lock_);
  permits_ += count;
  grant();
}

std::uint64_t Semaphore::available() const noexcept {
  const std::lock_guard guard(lock_);
  return permits_;
}

}  // namespace weft::sched
