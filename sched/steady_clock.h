// sched/steady_clock.h - the scheduler's clock in the shape that std::chrono wants, and what time points mean as deadlines.
//
//   mutex.try_lock_until(sched::SteadyClock::now() + 5ms);
//
// It reads CLOCK_MONOTONIC, as std::chrono::steady_clock does, or on a fiber of a Simulation virtual time. Time points of this
// clock and of std::chrono::steady_clock are deadlines as they are; those of other clocks are measured when the call begins, so that a
// later change of the wall clock does not count. Code that is to run in a Simulation takes this clock. Values; nothing parks.
// Tests: tests/sched/mutex_test.cc.
#pragma once

#include <chrono>
#include <concepts>

#include "sched/deadline.h"

namespace weft::sched {

struct SteadyClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<SteadyClock>;  // NOLINT(readability-identifier-naming): as std names it
  static constexpr bool is_steady = true;                   // NOLINT(readability-identifier-naming)
  static time_point now() noexcept { return time_point(sched::now()); }
};

template <typename Rep, typename Period>
Deadline deadline_after(const std::chrono::duration<Rep, Period>& timeout) noexcept {
  // Too long for nanoseconds: for ever. Rounded up, as a wait does not end early.
  if (timeout > std::chrono::duration<double>(std::chrono::nanoseconds::max()) / 2) return Deadline::never();
  return Deadline::after(std::chrono::ceil<std::chrono::nanoseconds>(timeout));
}

template <typename Clock, typename Duration>
Deadline deadline_at(const std::chrono::time_point<Clock, Duration>& at) noexcept {
  if constexpr (std::same_as<Clock, SteadyClock> || std::same_as<Clock, std::chrono::steady_clock>) {
    if (at.time_since_epoch() > std::chrono::duration<double>(std::chrono::nanoseconds::max()) / 2)
      return Deadline::never();
    return Deadline(std::chrono::ceil<std::chrono::nanoseconds>(at.time_since_epoch()));
  } else {
    return deadline_after(at - Clock::now());
  }
}

}  // namespace weft::sched
