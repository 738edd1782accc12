#include "sched/latch.h"

#include <mutex>

#include "kernel/check.h"
#include "sched/current.h"

namespace weft::sched {

void Latch::count_down(std::ptrdiff_t by) noexcept {
  simulation_point();
  WaitQueue through;
  {
    const std::lock_guard guard(lock_);
    WEFT_CHECK(by >= 0 && by <= count_);
    count_ -= by;
    if (count_ == 0) through.take_claimed(queue_);
  }
  through.resume_all();
}

bool Latch::try_wait() const noexcept {
  const std::lock_guard guard(lock_);
  return count_ == 0;
}

void Latch::wait() noexcept { (void)wait(Deadline::never(), false); }

Status Latch::wait_until(Deadline deadline) { return status_of(wait(deadline, true)); }

Outcome Latch::wait(Deadline deadline, bool cancellable) noexcept {
  simulation_point();
  Waiter waiter;
  {
    const std::lock_guard guard(lock_);
    if (count_ == 0) return Outcome::kNotified;
    queue_.push_back(waiter);
  }
  const Outcome outcome = waiter.park("latch", deadline, cancellable, this);
  if (outcome != Outcome::kNotified) {
    const std::lock_guard guard(lock_);
    queue_.remove(waiter);
  }
  return outcome;
}

}  // namespace weft::sched
