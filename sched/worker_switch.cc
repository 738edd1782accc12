// sched/worker_switch.cc - from one fiber to another: what the one who leaves notes, what the one who arrives does for it, and the
// stacks that change hands. See worker.h, R1 and R3.
#include <utility>

#include "kernel/check.h"
#include "sched/probes.h"
#include "sched/scheduler.h"
#include "sched/scheduling.h"
#include "sched/simulated_order.h"
#include "sched/worker.h"

namespace weft::sched {

// One after another: who ends is followed on the same stack by one that has not begun, if that is whose turn it is.
void Worker::fiber_main() {
  current_worker()->arrive();
  for (;;) {
    current_fiber()->run_body();
    current_worker()->end_current();
  }
}

// False: there is none; the fiber is the scheduler's until one comes back.
bool Worker::bind_stack(FiberState& fiber) noexcept {
  if (fiber.stack_pages == 0 && stack_count_ > 0) {
    fiber.stack = stacks_[--stack_count_];
  } else {
    auto taken = scheduler_.stacks_.take(fiber.stack_bytes());
    if (!taken) {
      while (stack_count_ > 0) scheduler_.stacks_.give(stacks_[--stack_count_]);  // of another size
      scheduler_.wait_for_stack(fiber, taken.error());
      return false;
    }
    fiber.stack = *taken;
  }
  fiber.context.prepare(fiber.stack.bottom, fiber.stack.size_bytes, fiber.id, &Worker::fiber_main);
  return true;
}

// The stack of a fiber that has ended, for one that has not begun: of the size it wants, and nobody waits for one.
bool Worker::may_go_on_with(Stack stack, const FiberState& fiber) const noexcept {
  return fiber.stack_pages == 0 && stack.size_bytes == scheduler_.stacks_.usual_bytes() &&
         scheduler_.stackless_count_.load(std::memory_order_relaxed) == 0;
}

void Worker::give_stack(Stack stack) noexcept {
  const bool waited_for = scheduler_.stackless_count_.load(std::memory_order_relaxed) != 0;
  if (stack_count_ < stacks_.size() && stack.size_bytes == scheduler_.stacks_.usual_bytes() && !waited_for) {
    stacks_[stack_count_++] = stack;
  } else {
    scheduler_.stacks_.give(stack);
    if (waited_for) scheduler_.stack_came_back();
  }
}

void Worker::give_back_stacks() noexcept {
  while (stack_count_ > 0) {
    scheduler_.stacks_.give(stacks_[--stack_count_]);
    scheduler_.stack_came_back();
  }
}

// `to` null: the thread's own context. The exception state of `from`, the running one, goes to `exceptions`.
[[gnu::always_inline]] inline void Worker::go(Context& from, ExceptionState& exceptions, FiberState* to,
                                              bool ends) noexcept {
  if (to != nullptr && !to->context.prepared() && !bind_stack(*to)) [[unlikely]] {
    to = nullptr;
    if (&from == &root_) return;
  }
  exceptions = *exceptions_;
  set_current(to);
  if (to != nullptr) {
    to->phase.store(FiberPhase::kRunning, std::memory_order_relaxed);
    bump(switches_);
    WEFT_PROBE2(switch, index_, to->id);
    if (Observer* seen_by = observer()) [[unlikely]]
      seen_by->runs(*to, scheduler_.now_ns());
    *exceptions_ = to->exceptions;
    Context::switch_to(from, to->context, ends);
  } else {
    *exceptions_ = root_exceptions_;
    Context::switch_to(from, root_, ends);
  }
  current_worker()->arrive();
}

void Worker::enter(FiberState* fiber) noexcept { go(root_, root_exceptions_, fiber, false); }

[[gnu::always_inline]] inline void Worker::leave(After after, Waiter* waiter, FiberState* to) noexcept {
  FiberState* self = current();
  after_ = after;
  left_ = self;
  left_waiter_ = waiter;
  if (after == After::kPark) {
    self->parked_at_ns.store(order_ != nullptr ? scheduler_.now_ns() : coarse_ns(), std::memory_order_relaxed);
    WEFT_PROBE2(park, self->id, self->wait_reason.load(std::memory_order_relaxed));
  }
  if (Observer* seen_by = observer()) [[unlikely]]
    seen_by->leaves(*self, after == After::kPark ? TraceKind::kPark : TraceKind::kYield, scheduler_.now_ns());
  go(self->context, self->exceptions, to, false);
}

[[gnu::always_inline]] inline void Worker::arrive() noexcept {
  const After after = after_;
  FiberState* fiber = left_;
  after_ = After::kNothing;
  switch (after) {
    case After::kNothing: return;
    case After::kYield:
      fiber->phase.store(FiberPhase::kQueued, std::memory_order_relaxed);
      if (fiber->classed && order_ == nullptr) [[unlikely]] {
        scheduler_.queue_classed(fiber, false);
      } else if (order_ != nullptr || fiber->pinned.load(std::memory_order_relaxed) != nullptr) {
        push_woken(fiber);
      } else if (!queue_.push(fiber)) {
        queue_or_inject(fiber);
      }
      // Nobody is woken for it: it was running, and whoever is idle was told of the others when they were queued.
      return;
    case After::kPark:
      bump(parks_);
      fiber->phase.store(FiberPhase::kParked, std::memory_order_relaxed);
      if (!left_waiter_->commit_park()) {
        if (Observer* seen_by = observer()) [[unlikely]]
          seen_by->becomes_ready(*fiber, TraceKind::kWake, nullptr, scheduler_.now_ns());
        push_woken(fiber);
      }
      return;
    case After::kEnd:
      ended_.release();
      give_stack(ended_stack_);
      return;
  }
}

// Returns with another fiber as the current one, which has not begun, or never. What the ended one leaves behind is the worker's
// before anybody is told: its memory may then be another fiber's at once.
void Worker::end_current() noexcept {
  FiberState* self = current();
  ended_.take_over(self->context);
  ended_stack_ = std::exchange(self->stack, Stack{});
  if (Observer* seen_by = observer()) [[unlikely]]
    seen_by->leaves(*self, TraceKind::kEnd, scheduler_.now_ns());
  if (self->has_forks) [[unlikely]]
    take_forks(*self);
  if (self->classed) [[unlikely]] {
    if (order_ == nullptr) scheduler_.classes_.ends(turn_, *self, scheduler_.now_ns());
    self->end_scheduling();
  }
  scheduler_.ended(self, *this);
  FiberState* to = pick(After::kEnd);
  if (to != nullptr && !to->context.prepared() && may_go_on_with(ended_stack_, *to)) {
    to->context.take_over(ended_);
    to->stack = ended_stack_;
    set_current(to);
    to->phase.store(FiberPhase::kRunning, std::memory_order_relaxed);
    bump(switches_);
    if (Observer* seen_by = observer()) [[unlikely]]
      seen_by->runs(*to, scheduler_.now_ns());
    return;
  }
  after_ = After::kEnd;
  go(ended_, root_exceptions_, to, true);
  WEFT_CHECK(!"an ended fiber was entered");
  __builtin_unreachable();
}

// The joiner can do nothing until the child has ended, so the child may have the joiner's stack from here on, and all it needs is
// a FiberState of its own: it is seen as itself, may park and go on on another worker (with the joiner's frames below it), and the
// joiner goes on where it ends. A whole stack is left for it (kJoinRoomBytes is added to each stack for this), and after some in
// a row the others have their turn.
bool Worker::run_inline(FiberState& child) noexcept {
  FiberState* self = current();
  if (self == nullptr || order_ != nullptr || self->classed || child.pool != pool_) return false;
  if (!child.claimable.load(std::memory_order_relaxed)) return false;
  if (scheduler_.classes_.high_waits()) [[unlikely]]
    return false;
  const auto* here = static_cast<const std::byte*>(__builtin_frame_address(0));
  const std::size_t needs = child.stack_pages != 0 ? child.stack_bytes() : scheduler_.options_.stack_bytes;
  if (here - self->stack.bottom < static_cast<std::ptrdiff_t>(needs)) return false;
  if (++inline_run_ % kInlineInARow == 0) return false;

  bool mine = false;
  if (newest_.load(std::memory_order_relaxed) == &child) {
    newest_.store(nullptr, std::memory_order_relaxed);
    mine = child.claim();
  } else if (fresh_.newest() == &child) {
    fresh_.forget_newest([&] {
      mine = child.claim();
#if !defined(__x86_64__)  // there the exchange was one
      std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
      return mine;
    });
  } else {
    // Of many that were started together and are joined in that order; one of the next is fetched meanwhile.
    if (const FiberState* later = fresh_.peek(inline_run_ % kInlineInARow + kFetchAhead)) {
      __builtin_prefetch(later, 1);
      __builtin_prefetch(&later->body, 1);
    }
    mine = child.claim();
  }
  if (!mine) return false;

  promote_forks(*self);
  child.context.run_above(self->context);
  child.stack = self->stack;
  self->wait_reason.store(kJoinsInline, std::memory_order_relaxed);
  self->phase.store(FiberPhase::kParked, std::memory_order_relaxed);
  self->exceptions = *exceptions_;
  *exceptions_ = {};
  child.phase.store(FiberPhase::kRunning, std::memory_order_relaxed);
  set_current(&child);
  if (Observer* seen_by = observer()) [[unlikely]]
    seen_by->goes_over(*self, child, TraceKind::kPark, scheduler_.now_ns());
  child.run_body();

  Worker* now = current_worker();
  if (Observer* seen_by = now->observer()) [[unlikely]]
    seen_by->goes_over(child, *self, TraceKind::kEnd, now->scheduler_.now_ns());
  if (child.has_forks) [[unlikely]]
    now->take_forks(child);
  child.phase.store(FiberPhase::kEnded, std::memory_order_relaxed);
  child.context.release();
  child.stack = {};
  self->phase.store(FiberPhase::kRunning, std::memory_order_relaxed);
  *now->exceptions_ = self->exceptions;
  now->set_current(self);
  now->count_ended();
  Worker* home = self->pinned.load(std::memory_order_relaxed);
  if (home != nullptr && home != now) now->leave(After::kYield, nullptr, now->pick(After::kYield));
  return true;
}

// The one that yields takes part in the draw. If it is alone and `passes_time`, time goes on a little, so that a loop of yields
// that waits for a deadline comes to its end.
void Worker::yield_simulated(bool passes_time) noexcept {
  if (simulated_ready_.empty()) {
    if (!passes_time) return;
    scheduler_.set_virtual_time(scheduler_.now_ns() + 1000);
    timers_.fire(scheduler_.now_ns());
    if (simulated_ready_.empty()) return;
  }
  const std::size_t index = order_->choose(simulated_ready_.size() + 1);
  if (index == simulated_ready_.size()) return;
  leave(After::kYield, nullptr, take_simulated(index));
}

void Worker::yield_current() noexcept {
  if (order_ != nullptr) {
    yield_simulated(true);
    return;
  }
  promote_forks(*current());
  // The loop of a fiber that only yields must still see its I/O, timers and what comes from outside.
  FiberState* to = pick(After::kYield);
  if (to == nullptr) {
    check_events();
    to = pick(After::kYield);
  }
  if (to == nullptr) return;
  leave(After::kYield, nullptr, to);
}

void Worker::checkpoint() noexcept {
  if (order_ != nullptr) {
    yield_simulated(true);
    return;
  }
  const bool urgent = scheduler_.classes_.high_waits() && current()->scheduling_class != SchedulingClass::kHigh;
  const Slice::Due due = urgent ? Slice::Due::kYield : slice_.ask(read_ticks(), switches());
  if (due == Slice::Due::kNothing) return;
  check_events();
  if (due == Slice::Due::kYield) yield_current();
}

void Worker::park_current(Waiter& waiter) noexcept {
  promote_forks(*current());
  leave(After::kPark, &waiter, pick(After::kPark));
}

}  // namespace weft::sched
