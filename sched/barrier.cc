#include "sched/barrier.h"

#include <mutex>

#include "kernel/check.h"
#include "sched/current.h"

namespace weft::sched {

BarrierCore::Arrival BarrierCore::arrive_core(std::ptrdiff_t count, bool drop) noexcept {
  simulation_point();
  const std::lock_guard guard(lock_);
  WEFT_CHECK(count > 0 && count <= missing_);
  if (drop) --expected_;
  missing_ -= count;
  return {.token = ArrivalToken(phase_), .last = missing_ == 0};
}

void BarrierCore::next_phase() noexcept {
  WaitQueue through;
  {
    const std::lock_guard guard(lock_);
    ++phase_;
    missing_ = expected_;
    through.take_claimed(queue_);
  }
  through.resume_all();
}

Outcome BarrierCore::wait_phase(std::uint64_t phase, Deadline deadline, bool cancellable) noexcept {
  simulation_point();
  Waiter waiter;
  {
    const std::lock_guard guard(lock_);
    if (phase_ != phase) return Outcome::kNotified;
    queue_.push_back(waiter);
  }
  const Outcome outcome = waiter.park("barrier", deadline, cancellable, this);
  if (outcome != Outcome::kNotified) {
    const std::lock_guard guard(lock_);
    queue_.remove(waiter);
  }
  return outcome;
}

}  // namespace weft::sched
