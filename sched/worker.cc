#include "sched/worker.h"

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>

#include "kernel/check.h"
#include "sched/asymmetric_fence.h"
#include "sched/current.h"
#include "sched/probes.h"
#include "sched/scheduler.h"
#include "sched/scheduling.h"
#include "sched/simulated_order.h"

// Its name is what current.h's load says; see there for why nothing else may touch it.
constinit thread_local weft::sched::Worker* this_threads_worker asm("weft_sched_this_worker") = nullptr;

namespace weft::sched {

#if !(defined(__x86_64__) && defined(__ELF__) && !defined(__ILP32__))
// Opaque to the optimizer, see current.h.
[[gnu::noinline]] Worker* current_worker_out_of_line() noexcept {
  asm volatile("" ::: "memory");
  return this_threads_worker;
}
#endif

[[gnu::noinline]] FiberState* current_fiber() noexcept {
  const Worker* worker = current_worker();
  return worker != nullptr ? worker->current() : nullptr;
}

[[gnu::noinline]] void set_current_worker(Worker* worker) noexcept {
  asm volatile("" ::: "memory");
  this_threads_worker = worker;
}

std::atomic<int> simulations_running{0};

void simulation_point_slow() noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr || !worker->simulated() || worker->current() == nullptr) return;
  if (!worker->current()->in_stop_callbacks) worker->yield_simulated(false);
}

Status Worker::start_on_this_thread() {
  random_ += index_ * 0x85EBCA6BU;
  seen_switches_.resize(scheduler_.worker_count());
  reactor_ = TRY(Reactor::create(scheduler_.options().use_io_uring, scheduler_.options().open_files_only));
  return {};
}

// --- Leaving and arriving -------------------------------------------------------------------------------------------

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

[[gnu::always_inline]] inline FiberState* Worker::take_free_fiber() {
  const auto fetch = [this](std::size_t at) {
    const auto* lines = reinterpret_cast<const char*>(free_fibers_[at]);
    for (std::size_t line = 0; line < 3; ++line) __builtin_prefetch(lines + 64 * line, 1);
  };
  if (free_count_ == 0) [[unlikely]] {
    free_count_ = pool_->take(std::span(free_fibers_).first(kFiberBatch));
    for (std::size_t next = 1; next <= std::min(free_count_, kFetchAhead); ++next) fetch(free_count_ - next);
  }
  FiberState* fiber = free_fibers_[--free_count_];
  if (free_count_ >= kFetchAhead) fetch(free_count_ - kFetchAhead);  // while this one is made
  if (next_id_ == last_id_) [[unlikely]] {
    next_id_ = scheduler_.next_id_.fetch_add(kIdBatch, std::memory_order_relaxed);
    last_id_ = next_id_ + kIdBatch;
  }
  fiber->id = next_id_++;
  return fiber;
}

FiberState* Worker::new_fiber() { return take_free_fiber(); }

FiberState* Worker::spawn(std::string_view name, Body&& body) {
  const FiberState* by = current();
  if (by != nullptr && by->classed) [[unlikely]]
    return scheduler_.spawn(name, std::move(body));
  FiberState* fiber = take_free_fiber();
  fiber->begin(name, std::move(body));
  hint_at(fiber);
  return fiber;
}

// The half that was not used for longer.
void Worker::give_back_fibers() noexcept {
  const auto oldest = std::span(free_fibers_).first<2 * kFiberBatch>();
  pool_->give(oldest);
  std::copy(free_fibers_.begin() + oldest.size(), free_fibers_.end(), free_fibers_.begin());
  free_count_ -= oldest.size();
}

void Worker::count_ended() noexcept {
  ended_count_.store(ended_count_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  if (scheduler_.closing_.load(std::memory_order_relaxed)) [[unlikely]]
    scheduler_.tell_closer();
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

// --- Queues ---------------------------------------------------------------------------------------------------------

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

void Worker::push_spawned(FiberState* fiber) noexcept { hint_at(fiber); }

[[gnu::always_inline]] inline void Worker::hint_at(FiberState* fiber) noexcept {
  bump(spawned_);
  const FiberState* by = current();
  fiber->spawned_by.store(by != nullptr ? by->id : 0, std::memory_order_relaxed);
  if (Observer* seen_by = observer()) [[unlikely]]
    seen_by->becomes_ready(*fiber, TraceKind::kSpawn, by, scheduler_.now_ns());
  if (order_ != nullptr || fiber->classed || fiber->pinned.load(std::memory_order_relaxed) != nullptr) {
    push_woken(fiber);
    return;
  }
  fiber->claimable.store(true, std::memory_order_release);
  FiberState* older = newest_.load(std::memory_order_relaxed);
  newest_.store(fiber, std::memory_order_release);
  if (older != nullptr && older->claimable.load(std::memory_order_relaxed)) fresh_.push(older);
  scheduler_.notify_of_spawned();
}

void Worker::post(FiberState* fiber) noexcept {
  inbox_.push(fiber);
  wake();
}

void Worker::post_cancel(CancelRequest& cancel) noexcept {
  {
    const std::lock_guard guard(cancels_lock_);
    cancel.next = cancels_;
    cancels_ = &cancel;
    has_cancels_.store(true, std::memory_order_release);
  }
  wake();
}

// Whoever is awake looks again at what it is woken for before it sleeps (R2), so that it has to be told only if it has said kAsleep.
void Worker::wake() noexcept {
  light_fence();
  if (sleep_.load(std::memory_order_relaxed) == kAwake) return;
  if (sleep_.exchange(kNotified, std::memory_order_acq_rel) == kAsleep) reactor_->wake();
}

// --- Picking --------------------------------------------------------------------------------------------------------

void Worker::note_io(Observer& seen_by) noexcept {
  const auto note = [&](TraceKind kind, std::uint64_t now, std::uint64_t& before) {
    if (now != before) seen_by.note(kind, nullptr, now - before, scheduler_.now_ns());
    before = now;
  };
  note(TraceKind::kSubmit, reactor_->submitted(), noted_submitted_);
  note(TraceKind::kComplete, reactor_->completed(), noted_completed_);
}

void Worker::check_events() noexcept {
  if (has_cancels_.load(std::memory_order_acquire)) {
    CancelRequest* list = nullptr;
    {
      const std::lock_guard guard(cancels_lock_);
      std::swap(list, cancels_);
      has_cancels_.store(false, std::memory_order_relaxed);
    }
    while (list != nullptr) {
      CancelRequest* cancel = list;
      list = cancel->next;
      reactor_->prepare(uring::cancel(reinterpret_cast<std::uintptr_t>(cancel->target)), cancel);
    }
  }
  if (reactor_->pending()) {
    reactor_->poll();
    if (Observer* seen_by = observer()) [[unlikely]]
      note_io(*seen_by);
  }
  if (timers_.not_before() != Timers::kNothing) timers_.fire(scheduler_.now_ns());
}

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

FiberState* Worker::take_fresh() noexcept {
  // Those that were joined before they began.
  fresh_.drop_oldest(kInlineInARow,
                     [](const FiberState& hint) { return !hint.claimable.load(std::memory_order_relaxed); });
  while (!fresh_.empty()) {
    FiberState* fiber = fresh_.steal();
    if (fiber != nullptr && fiber->claim()) return fiber;
  }
  FiberState* fiber = newest_.load(std::memory_order_relaxed);
  if (fiber == nullptr) return nullptr;
  newest_.store(nullptr, std::memory_order_relaxed);
  return fiber->claim() ? fiber : nullptr;
}

// What is looked at now and then only, so that it costs the other times nothing.
FiberState* Worker::pick_in_between() noexcept {
  picks_ = kPicksPerSubmit;
  if (reactor_->unsubmitted() != 0) reactor_->submit();
  if (Observer* seen_by = observer()) [[unlikely]]
    note_io(*seen_by);
  if (--submits_ != 0) return nullptr;
  submits_ = kSubmitsPerCheck;
  if (order_ == nullptr) set_coarse_clock(scheduler_.now_ns());
  check_events();
  if (scheduler_.classes_.idle_waits()) turn_.look = true;
  return take_injected();
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

FiberState* Worker::pick(After current) noexcept { return pick_here(current); }

[[gnu::always_inline]] inline FiberState* Worker::pick_here(After current) noexcept {
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

[[gnu::always_inline]] inline FiberState* Worker::pick_ordinary() noexcept {
  if (--picks_ == 0) [[unlikely]] {
    if (FiberState* fiber = pick_in_between()) return fiber;
  }
  if (next_run_ < kNextInARow) {
    if (FiberState* fiber = take_next()) {
      ++next_run_;
      return fiber;
    }
  }
  next_run_ = 0;
  if (!inbox_.empty()) [[unlikely]] {
    if (FiberState* fiber = inbox_.pop()) return fiber;
  }
  if (FiberState* fiber = pinned_head_) {
    pinned_head_ = fiber->queue_next;
    if (pinned_head_ == nullptr) pinned_tail_ = nullptr;
    return fiber;
  }
  const bool fresh = has_fresh();
  if (fresh && (fresh_turn_ = !fresh_turn_)) {
    if (FiberState* fiber = take_fresh()) return fiber;
  }
  if (FiberState* fiber = alone_ ? queue_.pop_alone() : queue_.pop()) {
    fetch_ahead();
    return fiber;
  }
  if (fresh) {
    if (FiberState* fiber = take_fresh()) return fiber;
  }
  return take_next();
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

void Worker::enter_thread() noexcept {
  exceptions_ = exceptions_of_this_thread();
  thread_id_.store(gettid(), std::memory_order_relaxed);
  set_coarse_clock(scheduler_.now_ns());
  set_current_worker(this);
}

void Worker::leave_thread() noexcept {
  set_current_worker(nullptr);
  while (stack_count_ > 0) scheduler_.stacks_.give(stacks_[--stack_count_]);
  pool_->give(std::span(free_fibers_).first(std::exchange(free_count_, 0)));
}

void Worker::give_back_stacks() noexcept {
  while (stack_count_ > 0) {
    scheduler_.stacks_.give(stacks_[--stack_count_]);
    scheduler_.stack_came_back();
  }
}

void Worker::run() {
  enter_thread();
  const SignalStack signal_stack(scheduler_.overflow_watch_.installed());
  while (!scheduler_.stopping_.load(std::memory_order_acquire)) {
    FiberState* fiber = pick(After::kNothing);
    if (fiber == nullptr) fiber = search();
    if (fiber != nullptr) {
      stop_searching();
      go(root_, root_exceptions_, fiber, false);
    } else {
      sleep();
    }
  }
  stop_searching();
  leave_thread();
}

Status Worker::run_simulated(SimulatedOrder& order) {
  order_ = &order;
  enter_thread();
  Status status;
  while (scheduler_.live() != 0) {
    if (FiberState* fiber = pick_simulated()) {
      go(root_, root_exceptions_, fiber, false);
    } else if (const std::int64_t next = timers_.earliest(); next != Timers::kNothing) {
      scheduler_.set_virtual_time(std::max(next, scheduler_.now_ns()));
      timers_.fire(scheduler_.now_ns());
    } else {
      status = fail(Errc::kBusy, "all fibers wait for each other:\n" + to_text(scheduler_.report({})));
      break;
    }
  }
  leave_thread();
  return status;
}

WorkerCounters Worker::counters() const noexcept {
  return {.switches = switches_.load(std::memory_order_relaxed),
          .parks = parks_.load(std::memory_order_relaxed),
          .spawned = spawned_.load(std::memory_order_relaxed),
          .steals = steals_.load(std::memory_order_relaxed),
          .searches = searches_.load(std::memory_order_relaxed),
          .injected = injected_.load(std::memory_order_relaxed),
          .sleeps = sleeps_.load(std::memory_order_relaxed),
          .wakes_sent = wakes_sent_.load(std::memory_order_relaxed),
          .submitted = reactor_ != nullptr ? reactor_->submitted() : 0,
          .completed = reactor_ != nullptr ? reactor_->completed() : 0,
          .enters = reactor_ != nullptr ? reactor_->enters() : 0,
          .queued = queue_.size() + (next_.load(std::memory_order_relaxed) != nullptr ? 1U : 0U) + fresh_.size() +
                    (newest_.load(std::memory_order_relaxed) != nullptr ? 1U : 0U),
          .asleep = asleep()};
}

}  // namespace weft::sched
