#include "sched/waiter.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <mutex>

#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/scheduler.h"
#include "sched/stand_in.h"
#include "sched/worker.h"

namespace weft::sched {

Waiter::Waiter() noexcept : fiber_(current_fiber()) {}

void Waiter::resume() noexcept {
  FiberState* fiber = fiber_;
  const std::uint32_t before = phase_.exchange(kResumed, std::memory_order_acq_rel);
  // Not parked: it will see kResumed, and may have seen it already, so `this` is gone.
  if (fiber != nullptr) {
    if (before == kParked) fiber->scheduler->make_ready(fiber);
    return;
  }
  // A thread that has gone on meanwhile makes this a futile wake of an address, which the kernel never dereferences.
  if (before == kParked) syscall(SYS_futex, &phase_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

Outcome Waiter::park(const char* reason, Deadline deadline, bool cancellable, const void* on) noexcept {
  FiberState* asked = cancellable ? (fiber_ != nullptr ? fiber_ : current_stand_in()) : nullptr;
  if (asked != nullptr) {
    const std::lock_guard guard(asked->cancel_lock);
    if (asked->stop_requested.load(std::memory_order_relaxed)) {
      if (claim(Outcome::kCancelled)) return Outcome::kCancelled;
      asked = nullptr;  // somebody else has claimed and will resume
    } else {
      asked->cancellable = this;
    }
  }
  if (fiber_ != nullptr) {
    park_fiber(reason, deadline, on);
  } else {
    park_thread(deadline);
  }
  if (asked != nullptr) {
    const std::lock_guard guard(asked->cancel_lock);
    asked->cancellable = nullptr;
  }
  return outcome_.load(std::memory_order_acquire);
}

void Waiter::park_fiber(const char* reason, Deadline deadline, const void* on) noexcept {
  TimerNode timer;
  Worker* home = nullptr;
  if (!deadline.is_never()) {
    home = current_worker();
    home->timers().arm(timer, deadline.at().count(), *this);
  }
  if (!resumed()) {
    fiber_->wait_reason.store(reason, std::memory_order_relaxed);
    fiber_->waits_for.store(on, std::memory_order_relaxed);
    fiber_->wait_ends_ns.store(deadline.at().count(), std::memory_order_relaxed);
    current_worker()->park_current(*this);
  }
  if (home != nullptr) home->timers().disarm(timer);
}

void Waiter::park_thread(Deadline deadline) noexcept {
  commit_park();
  while (!resumed()) {
    timespec limit{};
    if (!deadline.is_never()) {
      const std::int64_t at = deadline.at().count() < 0 ? 0 : deadline.at().count();
      limit.tv_sec = at / 1'000'000'000;
      limit.tv_nsec = at % 1'000'000'000;
    }
    // BITSET: an absolute time on CLOCK_MONOTONIC.
    syscall(SYS_futex, &phase_, FUTEX_WAIT_BITSET_PRIVATE, kParked, deadline.is_never() ? nullptr : &limit, nullptr,
            FUTEX_BITSET_MATCH_ANY);
    if (!resumed() && deadline.passed() && claim(Outcome::kTimedOut)) return;
  }
}

}  // namespace weft::sched
