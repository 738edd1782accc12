// sched/worker_search.cc - a worker that has nothing of its own to run: it looks at the others, spins, and sleeps. See worker.h, R2.
#include <sched.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "sched/asymmetric_fence.h"
#include "sched/probes.h"
#include "sched/scheduler.h"
#include "sched/worker.h"

namespace weft::sched {

bool Worker::has_spawned() const noexcept { return has_fresh() || forks_of(watched_current()) != nullptr; }

FiberState* Worker::steal() noexcept {
  const unsigned count = scheduler_.worker_count();
  const bool drowsy = scheduler_.drowsy_.load(std::memory_order_relaxed);
  random_ = random_ * 1664525U + 1013904223U;
  const unsigned start = (random_ >> 16) % count;
  for (unsigned i = 0; i < count; ++i) {
    Worker& victim = scheduler_.worker((start + i) % count);
    if (&victim == this) continue;
    FiberState* fiber = victim.queue_.steal_half(queue_);
    if (fiber != nullptr) return stolen(fiber, victim, true);
    if (!drowsy) fiber = steal_spawned(victim);
    if (fiber != nullptr) return stolen(fiber, victim, false);
  }
  return nullptr;
}

// A fork, or the oldest that has not begun. Of these hints to some more come along, up to half of all: so that many small ones do not
// cost a search each. They are hints, and stay their first worker's to claim as well.
FiberState* Worker::steal_spawned(Worker& victim) noexcept {
  FiberState* fiber = steal_fork(victim);
  while (fiber == nullptr && !victim.fresh_.empty()) {
    FiberState* hint = victim.fresh_.steal();
    if (hint == nullptr) break;
    if (hint->claim()) fiber = hint;
  }
  if (fiber == nullptr) return nullptr;
  for (std::size_t more = std::min(victim.fresh_.size() / 2, kMostHintsStolen - 1); more > 0; --more) {
    FiberState* hint = victim.fresh_.steal();
    if (hint == nullptr) break;
    fresh_.push(hint);
  }
  return fiber;
}

// Fibers that were woken and soon wait again, as those that want one lock, are better left where they were woken: the thief takes
// its time before it looks again.
//
// Very small fibers cost more to take over than to run: their memory goes from one processor to the other and back, and whoever
// starts and joins them is held up. So a thief looks at how long it was busy with what it took, or that it was woken for nothing.
// After some such in a row all leave alone what was spawned or forked, until the watchdog's next look: it is then tried once more.
void Worker::judge_steal() noexcept {
  if (stole_at_ns_ == 0) return;
  const std::int64_t busy_ns = scheduler_.now_ns() - std::exchange(stole_at_ns_, 0);
  if (stole_woken_) {
    patience_ = busy_ns < kWorthMovingNs ? std::min(patience_ + 1, kMostPatience) : 0;
  } else if (busy_ns < static_cast<std::int64_t>(switches() - stole_at_switches_) * kWorthStealingNs) {
    was_futile();
  } else {
    futile_ = 0;
  }
}

void Worker::was_futile() noexcept {
  if (++futile_ >= kFutileUntilDrowsy) scheduler_.drowsy_.store(true, std::memory_order_relaxed);
}

FiberState* Worker::stolen(FiberState* fiber, const Worker& victim, bool woken) noexcept {
  was_woken_ = false;
  stole_at_ns_ = scheduler_.now_ns();
  stole_at_switches_ = switches();
  stole_woken_ = woken;
  bump(steals_);
  WEFT_PROBE2(steal, index_, fiber->id);
  if (Observer* seen_by = observer()) [[unlikely]]
    seen_by->note(TraceKind::kSteal, fiber, victim.index_, scheduler_.now_ns());
  return fiber;
}

// What a worker woke or started last runs best where it is, unless the worker does not come to it. One that has not switched
// since this search began is held by a fiber, and its deadlines pass as well.
FiberState* Worker::take_from_the_busy() noexcept {
  for (unsigned i = 0; i < scheduler_.worker_count(); ++i) {
    Worker& victim = scheduler_.worker(i);
    if (&victim == this) continue;
    FiberState* fiber =
        scheduler_.drowsy_.load(std::memory_order_relaxed) ? nullptr : victim.newest_.load(std::memory_order_acquire);
    if (fiber != nullptr && fiber->claim()) return stolen(fiber, victim, false);
    if (victim.switches() != seen_switches_[i] || victim.current() == nullptr) continue;
    fiber = victim.holds_back() ? victim.raid() : nullptr;
    if (fiber != nullptr) return stolen(fiber, victim, true);
    if (victim.timers_.not_before() != Timers::kNothing && victim.timers_.fire(scheduler_.now_ns()) != 0) {
      if (FiberState* woken = pick(After::kNothing)) return woken;
    }
  }
  return nullptr;
}

void Worker::stop_searching() noexcept {
  if (!searching_) return;
  searching_ = false;
  if (scheduler_.end_search() && scheduler_.work_visible()) scheduler_.notify_one();
}

// What others have. `spun`: long enough to take also what they may yet come to themselves.
FiberState* Worker::look_around(bool spun) noexcept {
  FiberState* fiber = searching_ ? steal() : nullptr;
  if (fiber == nullptr && scheduler_.classes_.idle_waits())
    fiber = scheduler_.classes_.pick_idle(turn_, index_, scheduler_.now_ns());
  if (fiber == nullptr && spun && searching_) fiber = take_from_the_busy();
  return fiber;
}

// A device answers in its own time, and its answer wakes who sleeps in the ring. To look about meanwhile saves that wake, which at
// one read at a time makes a quarter more of them a second, and takes the processor for all of the time: half as much again for each
// read. So a worker sleeps at once whose requests are with a device, if one of them has come back since it last looked for work;
// who in between waits for something else, as a server does, goes on looking. Not who was woken to look.
bool Worker::waits_for_device() noexcept {
  const std::uint64_t before = std::exchange(device_seen_, reactor_->device_ended());
  return before != device_seen_ && reactor_->device_works() && !searching_;
}

// What is its own it looks at all the time; what is others' a little later, and then less and less often, because each look takes a
// cache line or two from who is busy with them.
FiberState* Worker::search() noexcept {
  bump(searches_);
  judge_steal();
  for_device_ = waits_for_device();
  std::int64_t spin_until = 0;
  std::uint32_t look_at = kRoundsBeforeLook << patience_;
  for (std::uint32_t round = 0;; ++round) {
    check_events();
    FiberState* fiber = pick(After::kNothing);
    if (fiber == nullptr) fiber = take_injected();
    if (fiber == nullptr && for_device_) return nullptr;
    if (fiber == nullptr && round == look_at) {
      const std::int64_t now = scheduler_.now_ns();
      if (spin_until == 0) {
        spin_until = now + scheduler_.options().idle_spin.count();
        if (!searching_) searching_ = scheduler_.begin_search();
        for (unsigned i = 0; i < scheduler_.worker_count(); ++i) seen_switches_[i] = scheduler_.worker(i).switches();
      }
      look_at += std::min(round, kMostRoundsBetweenLooks);
      fiber = look_around(now >= spin_until);
      if (fiber == nullptr && (now >= spin_until || scheduler_.stopping_.load(std::memory_order_relaxed))) {
        if (std::exchange(was_woken_, false)) was_futile();
        return nullptr;
      }
    }
    if (fiber != nullptr) {
      stop_searching();
      return fiber;
    }
    if (round % kRoundsPerYield == kRoundsPerYield - 1) {
      ::sched_yield();  // who gives us work may need this very processor for it
    } else {
      cpu_relax();
    }
  }
}

void Worker::sleep() noexcept {
  if (scheduler_.stackless_count_.load(std::memory_order_relaxed) != 0) [[unlikely]]
    give_back_stacks();
  sleep_.exchange(kAsleep, std::memory_order_acq_rel);
  scheduler_.list_idle(*this, searching_);
  searching_ = false;
  // For a device one sleeps often and not for long, and each heavy fence interrupts the other processors.
  bool certain = true;
  if (for_device_) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  } else {
    certain = heavy_fence();
  }
  const bool stay = !scheduler_.work_visible() && inbox_.empty() && !scheduler_.classes_.has_for(index_) &&
                    !has_cancels_.load(std::memory_order_acquire) &&
                    !scheduler_.stopping_.load(std::memory_order_acquire) &&
                    (stack_count_ == 0 || scheduler_.stackless_count_.load(std::memory_order_relaxed) == 0);
  if (stay) {
    bump(sleeps_);
    std::int64_t longest = timers_.earliest();
    if (!certain) longest = std::min(longest, scheduler_.now_ns() + 1'000'000);  // it may have been overlooked
    std::optional<std::chrono::nanoseconds> timeout;
    if (longest != Timers::kNothing) timeout = std::chrono::nanoseconds(longest - scheduler_.now_ns());
    if (Observer* seen_by = observer()) [[unlikely]]
      seen_by->note(TraceKind::kSleep, nullptr, 0, scheduler_.now_ns());
    reactor_->wait(timeout);
    set_coarse_clock(scheduler_.now_ns());
    if (Observer* seen_by = observer()) [[unlikely]] {
      seen_by->note(TraceKind::kAwake, nullptr, 0, scheduler_.now_ns());
      note_io(*seen_by);
    }
  }
  sleep_.exchange(kAwake, std::memory_order_acq_rel);
  was_woken_ = !scheduler_.unlist_idle(*this);
  if (was_woken_) searching_ = true;
}

}  // namespace weft::sched
