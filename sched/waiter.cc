#include "sched/waiter.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <bit>

#include "kernel/check.h"
#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/scheduler.h"
#include "sched/stand_in.h"
#include "sched/worker.h"

namespace weft::sched {

namespace {

// The kernel compares the lower half, where all that changes during a wait is.
void* futex_of(WaitWord& word) noexcept {
  static_assert(std::endian::native == std::endian::little);
  return &word.word;
}

}  // namespace

FiberState* Waiter::own_self() noexcept {
  const Worker* worker = current_worker();
  FiberState* fiber = worker != nullptr ? worker->current() : nullptr;
  return fiber != nullptr ? fiber : current_stand_in();
}

Waiter::Waiter() noexcept
    : self_(own_self()),
      scheduler_(self_ != nullptr ? self_->scheduler : nullptr),
      word_(self_ != nullptr && !self_->wait.taken ? self_->wait : own_),
      number_((word_.word.load(std::memory_order_relaxed) | WaitWord::kFlags) + 1) {
  word_.taken = true;
  word_.word.store(number_, std::memory_order_relaxed);
}

void Waiter::resume() noexcept {
  FiberState* self = self_;
  Scheduler* scheduler = scheduler_;
  WaitWord& word = word_;
  std::uint64_t before = word.word.load(std::memory_order_acquire);
  if (scheduler == nullptr || (before & WaitWord::kParked) == 0)
    before = word.word.fetch_or(WaitWord::kResumed, std::memory_order_acq_rel);
  // Not parked: it will see kResumed, and may have seen it already, so `this` is gone.
  if ((before & WaitWord::kParked) == 0) return;
  if (scheduler == nullptr) {
    wake_thread(word);
  } else if (Worker* here = current_worker(); here != nullptr && &here->scheduler() == scheduler) {
    here->make_ready(self);
  } else {
    scheduler->make_ready(self);
  }
}

// A thread that has gone on meanwhile makes this a futile wake of an address, which the kernel never dereferences.
void Waiter::wake_thread(WaitWord& word) noexcept {
  syscall(SYS_futex, futex_of(word), FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

bool Waiter::commit_park() noexcept {
  const FiberState* self = self_;
  WaitWord& word = word_;
  const std::uint64_t parked = number_ | parks_as_;
  if ((word.word.fetch_or(parks_as_, std::memory_order_seq_cst) & WaitWord::kResumed) != 0) return false;
  // From here on `this` may be gone, and *self another fiber's, whose wait then has another number.
  const bool stops =
      self != nullptr && (parked & WaitWord::kCancellable) != 0 && self->stop_requested.load(std::memory_order_seq_cst);
  return !stops || !word.cancel(parked);
}

Outcome Waiter::park(const char* reason, Deadline deadline, bool cancellable, const void* on) noexcept {
  if (cancellable && self_ != nullptr) {
    WEFT_CHECK(&word_ != &own_);
    if (self_->stop_requested.load(std::memory_order_relaxed)) [[unlikely]] {
      if (claim(Outcome::kCancelled)) return Outcome::kCancelled;
      // Somebody else has claimed and will resume.
    } else {
      parks_as_ = WaitWord::kParked | WaitWord::kCancellable;
    }
  }
  if (self_ != nullptr && scheduler_ != nullptr) {
    park_fiber(reason, deadline, on);
  } else {
    park_thread(deadline);
  }
  word_.taken = false;
  return outcome();
}

void Waiter::park_fiber(const char* reason, Deadline deadline, const void* on) noexcept {
  TimerNode timer;
  Worker* home = nullptr;
  if (!deadline.is_never()) {
    home = current_worker();
    home->timers().arm(timer, deadline.at().count(), *this);
  }
  if (!resumed()) {
    self_->wait_reason.store(reason, std::memory_order_relaxed);
    self_->waits_for.store(on, std::memory_order_relaxed);
    self_->wait_ends_ns.store(deadline.at().count(), std::memory_order_relaxed);
    current_worker()->park_current(*this);
  }
  // One whose time came was taken out before it was claimed.
  if (home != nullptr && outcome() != Outcome::kTimedOut) home->timers().disarm(timer);
}

void Waiter::park_thread(Deadline deadline) noexcept {
  if (!commit_park()) return;
  for (;;) {
    const std::uint64_t word = word_.word.load(std::memory_order_acquire);
    if ((word & WaitWord::kResumed) != 0) return;
    timespec limit{};
    if (!deadline.is_never()) {
      const std::int64_t at = deadline.at().count() < 0 ? 0 : deadline.at().count();
      limit.tv_sec = at / 1'000'000'000;
      limit.tv_nsec = at % 1'000'000'000;
    }
    // BITSET: an absolute time on CLOCK_MONOTONIC.
    syscall(SYS_futex, futex_of(word_), FUTEX_WAIT_BITSET_PRIVATE, static_cast<std::uint32_t>(word),
            deadline.is_never() ? nullptr : &limit, nullptr, FUTEX_BITSET_MATCH_ANY);
    if (!resumed() && deadline.passed() && claim(Outcome::kTimedOut)) return;
  }
}

}  // namespace weft::sched
