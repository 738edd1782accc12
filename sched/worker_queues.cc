// sched/worker_queues.cc - where fibers that are ready wait for a worker, and which of them it takes next. See worker.h for the order.
#include <algorithm>
#include <mutex>
#include <utility>

#include "kernel/check.h"
#include "sched/asymmetric_fence.h"
#include "sched/probes.h"
#include "sched/scheduler.h"
#include "sched/scheduling.h"
#include "sched/simulated_order.h"
#include "sched/worker.h"

namespace weft::sched {

// The owner's side costs no atomic read-modify-write, since it happens at each wake-up and another takes from here only when the
// owner is held by a fiber. Then the other pays: it says so, fences for both (heavy_fence()), and looks. Either it sees that the
// owner has taken the fiber, or the owner sees raided_ and asks under the lock who has it.
[[gnu::always_inline]] inline FiberState* Worker::swap_next(FiberState* fiber) noexcept {
  FiberState* before = next_.load(std::memory_order_relaxed);
  if (before == nullptr && fiber == nullptr) return nullptr;
  next_.store(fiber, std::memory_order_release);
  light_fence();
  if (raided_.load(std::memory_order_relaxed)) [[unlikely]]
    return acknowledge_raid(before, fiber);
  return before;
}

FiberState* Worker::acknowledge_raid(FiberState* before, const FiberState* put) noexcept {
  const std::lock_guard guard(raid_lock_);
  const FiberState* took = std::exchange(raid_took_, nullptr);
  raided_.store(false, std::memory_order_relaxed);
  if (took == nullptr) return before;
  if (took == before) return nullptr;
  // It came after our store.
  WEFT_CHECK(took == put);
  next_.store(nullptr, std::memory_order_relaxed);
  return before;
}

// From another worker's thread.
FiberState* Worker::raid() noexcept {
  const std::lock_guard guard(raid_lock_);
  if (raid_took_ != nullptr) return nullptr;
  raided_.store(true, std::memory_order_relaxed);
  FiberState* there = heavy_fence() ? next_.load(std::memory_order_acquire) : nullptr;
  raid_took_ = there;
  if (there == nullptr) raided_.store(false, std::memory_order_relaxed);
  return there;
}

FiberState* Worker::take_next() noexcept { return swap_next(nullptr); }

void Worker::queue_or_inject(FiberState* fiber) noexcept {
  if (!queue_.push(fiber)) {
    // Half of it goes to the scheduler's queue, in one piece, and this one behind it.
    FiberState* first = nullptr;
    FiberState* last = nullptr;
    std::uint64_t count = 0;
    const auto add = [&](FiberState* shed) {
      shed->queue_next = nullptr;
      (last != nullptr ? last->queue_next : first) = shed;
      last = shed;
      ++count;
    };
    queue_.shed_half(add);
    add(fiber);
    scheduler_.injector_.push_all(first, last, count);
  }
  scheduler_.notify_one();
}

void Worker::make_ready(FiberState* fiber) noexcept {
  WEFT_PROBE1(wake, fiber->id);
  if (Observer* seen_by = observer()) [[unlikely]]
    seen_by->becomes_ready(*fiber, TraceKind::kWake, current(), scheduler_.now_ns());
  queue_woken(fiber);
}

void Worker::push_woken(FiberState* fiber) noexcept { queue_woken(fiber); }

[[gnu::always_inline]] inline void Worker::queue_woken(FiberState* fiber) noexcept {
  fiber->phase.store(FiberPhase::kQueued, std::memory_order_relaxed);
  if (order_ != nullptr) {
    simulated_ready_.push_back(fiber);
    return;
  }
  if (fiber->classed) [[unlikely]] {
    scheduler_.queue_classed(fiber, true);
    return;
  }
  if (fiber->pinned.load(std::memory_order_relaxed) != nullptr) {
    Worker* home = scheduler_.home_of(*fiber);
    if (home != this) {
      home->post(fiber);
      return;
    }
    fiber->queue_next = nullptr;
    (pinned_tail_ != nullptr ? pinned_tail_->queue_next : pinned_head_) = fiber;
    pinned_tail_ = fiber;
    return;
  }
  FiberState* displaced = swap_next(fiber);
  if (displaced != nullptr) queue_or_inject(displaced);
}

void Worker::post(FiberState* fiber) noexcept {
  inbox_.push(fiber);
  wake();
}

FiberState* Worker::take_injected() noexcept {
  FiberState* first = scheduler_.injector_.pop_some(kFromInjector);
  if (first == nullptr) return nullptr;
  FiberState* rest = first->queue_next;
  bump(injected_);
  while (rest != nullptr) {
    FiberState* fiber = std::exchange(rest, rest->queue_next);
    bump(injected_);
    if (!queue_.push(fiber)) {
      scheduler_.injector_.push(fiber);
      scheduler_.notify_one();
    }
  }
  return first;
}

// Where many fibers take turns, those that come next are no longer in the first cache: the one after the next is fetched, and, as
// that was done before for the next, the end of its stack.
[[gnu::always_inline]] inline void Worker::fetch_ahead() noexcept {
  const FiberState* later = queue_.peek(1);
  const FiberState* next = queue_.peek(0);
  if (later == nullptr || next == nullptr) return;
  __builtin_prefetch(later, 1);
  // As a number: one that has not begun has none, and to fetch from about zero does nothing.
  const auto stack = reinterpret_cast<std::uintptr_t>(next->context.stack_pointer());
  for (std::size_t line = 0; line < 3; ++line) __builtin_prefetch(reinterpret_cast<const void*>(stack + 64 * line), 1);
}

// The way most picks go makes no call that it goes on after, and so saves no registers: they would lie in one more cache line of the
// stack of each fiber that takes turns. 1,000 that do nothing else take 14.8 ns for one instead of 16.2, two 10.7 instead of 11.9.
[[gnu::always_inline]] inline FiberState* Worker::pick_ordinary() noexcept {
  if (--picks_ == 0) [[unlikely]]
    return pick_in_between();
  return pick_own();
}

[[gnu::always_inline]] inline FiberState* Worker::pick_own() noexcept {
  if (next_run_ < kNextInARow) {
    if (FiberState* fiber = swap_next(nullptr)) {
      ++next_run_;
      return fiber;
    }
  }
  next_run_ = 0;
  if (!inbox_.empty() || pinned_head_ != nullptr || has_fresh()) return pick_of_all_kinds();
  FiberState* fiber = take_woken();
  return fiber != nullptr ? fiber : take_next();
}

[[gnu::always_inline]] inline FiberState* Worker::take_woken() noexcept {
  FiberState* fiber = alone_ ? queue_.pop_alone() : queue_.pop();
  if (fiber != nullptr) fetch_ahead();
  return fiber;
}

[[gnu::noinline]] FiberState* Worker::pick_of_all_kinds() noexcept {
  if (FiberState* fiber = inbox_.pop()) return fiber;
  if (FiberState* fiber = pinned_head_) {
    pinned_head_ = fiber->queue_next;
    if (pinned_head_ == nullptr) pinned_tail_ = nullptr;
    return fiber;
  }
  const bool fresh = has_fresh();
  if (fresh && (fresh_turn_ = !fresh_turn_)) {
    if (FiberState* fiber = take_fresh()) return fiber;
  }
  if (FiberState* fiber = take_woken()) return fiber;
  if (fresh) {
    if (FiberState* fiber = take_fresh()) return fiber;
  }
  return take_next();
}

// What is looked at now and then only, so that it costs the other times nothing.
[[gnu::noinline]] FiberState* Worker::pick_in_between() noexcept {
  picks_ = kPicksPerSubmit;
  if (reactor_->unsubmitted() != 0) reactor_->submit();
  if (Observer* seen_by = observer()) [[unlikely]]
    note_io(*seen_by);
  if (--submits_ == 0) {
    submits_ = kSubmitsPerCheck;
    set_coarse_clock(scheduler_.now_ns());
    check_events();
    if (scheduler_.classes_.idle_waits()) turn_.look = true;
    if (FiberState* fiber = take_injected()) return fiber;
  }
  return pick_own();
}

FiberState* Worker::pick(After current) noexcept {
  if (order_ != nullptr) [[unlikely]]
    return pick_simulated();
  if (scheduler_.classes_.attention() != 0 || turn_.look) [[unlikely]]
    return pick_classed(current);
  return pick_ordinary();
}

FiberState* Worker::pick_classed(After leaves) noexcept {
  const Classes::Leaving leaving{leaves == After::kPark || leaves == After::kYield ? current() : nullptr,
                                 leaves == After::kYield};
  return scheduler_.classes_.pick(turn_, index_, scheduler_.now_ns(), leaving, [this] {
    FiberState* fiber = pick_ordinary();
    // Their share is of all workers, so those who wait elsewhere count as well.
    return fiber != nullptr ? fiber : steal();
  });
}

FiberState* Worker::pick_simulated() noexcept {
  if (simulated_ready_.empty()) return nullptr;
  return take_simulated(order_->choose(simulated_ready_.size()));
}

FiberState* Worker::take_simulated(std::size_t index) noexcept {
  FiberState* fiber = simulated_ready_[index];
  simulated_ready_[index] = simulated_ready_.back();
  simulated_ready_.pop_back();
  order_->record(scheduler_.now_ns(), *fiber);
  return fiber;
}

}  // namespace weft::sched
