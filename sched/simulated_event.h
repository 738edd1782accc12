// sched/simulated_event.h - fibers of a Simulation that wait for something to change. Internal.
//
// A Simulation is one thread, and nobody else is drawn between two places where one may be: so there is no lock.
#pragma once

#include <algorithm>

#include "sched/waiter.h"

namespace weft::sched {

class SimulatedEvent {
 public:
  SimulatedEvent() noexcept = default;
  SimulatedEvent(const SimulatedEvent&) = delete;
  SimulatedEvent& operator=(const SimulatedEvent&) = delete;

  // Parks until notify() or `look_again`: then look again. kTimedOut: it is `deadline`; kCancelled.
  Status wait(const char* reason, Deadline deadline, Deadline look_again = Deadline::never()) noexcept {
    if (deadline.passed()) return fail(Errc::kTimedOut);
    const Outcome outcome = park(reason, std::min(deadline, look_again), true);
    return outcome == Outcome::kCancelled ? status_of(outcome) : Status();
  }
  // Even if the fiber is asked to stop.
  void wait_uncancelled(const char* reason) noexcept { park(reason, Deadline::never(), false); }
  void notify() noexcept {
    WaitQueue claimed;
    claimed.take_claimed(queue_);
    claimed.resume_all();
  }

 private:
  Outcome park(const char* reason, Deadline deadline, bool cancellable) noexcept {
    Waiter waiter;
    queue_.push_back(waiter);
    const Outcome outcome = waiter.park(reason, deadline, cancellable, this);
    queue_.remove(waiter);
    return outcome;
  }

  WaitQueue queue_;
};

}  // namespace weft::sched
