#include "sched/worker.h"

#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "kernel/check.h"
#include "sched/current.h"
#include "sched/scheduler.h"
#include "sched/simulated_order.h"

namespace weft::sched {
namespace {

constinit thread_local Worker* this_threads_worker = nullptr;

}  // namespace

// Opaque to the optimizer, see current.h.
[[gnu::noinline]] Worker* current_worker() noexcept {
  asm volatile("" ::: "memory");
  return this_threads_worker;
}

[[gnu::noinline]] FiberState* current_fiber() noexcept {
  asm volatile("" ::: "memory");
  Worker* worker = this_threads_worker;
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
  reactor_ = TRY(Reactor::create(scheduler_.options().use_io_uring, scheduler_.options().open_files_only));
  return {};
}

// --- Leaving and arriving -------------------------------------------------------------------------------------------

void Worker::fiber_main() {
  current_worker()->arrive();
  current_fiber()->run_body();
  current_worker()->end_current();
}

void Worker::bind_stack(FiberState& fiber) noexcept {
  if (fiber.stack_bytes == 0 && stack_count_ > 0) {
    fiber.stack = stacks_[--stack_count_];
  } else {
    auto taken = scheduler_.stacks_.take(fiber.stack_bytes);
    if (!taken) {
      std::fprintf(stderr, "weft: fiber \"%s\" cannot start: %s\n", fiber.name, taken.error().message().c_str());
      std::abort();
    }
    fiber.stack = *taken;
  }
  fiber.context.prepare(fiber.stack.bottom, fiber.stack.size_bytes, fiber.id, &Worker::fiber_main);
}

void Worker::give_stack(Stack stack) noexcept {
  if (stack_count_ < stacks_.size() && stack.size_bytes == scheduler_.stacks_.usual_bytes()) {
    stacks_[stack_count_++] = stack;
  } else {
    scheduler_.stacks_.give(stack);
  }
}

// `to` null: the thread's own context.
void Worker::go(Context& from, FiberState* to, bool ends) noexcept {
  current_ = to;
  watched_.store(to, std::memory_order_relaxed);
  if (to != nullptr) {
    if (!to->context.prepared()) bind_stack(*to);
    to->phase.store(FiberPhase::kRunning, std::memory_order_relaxed);
    bump(switches_);
    Context::switch_to(from, to->context, ends);
  } else {
    Context::switch_to(from, root_, ends);
  }
  current_worker()->arrive();
}

void Worker::leave(After after, Waiter* waiter, FiberState* to) noexcept {
  FiberState* self = current_;
  after_ = after;
  left_ = self;
  left_waiter_ = waiter;
  go(self->context, to, after == After::kEnd);
}

void Worker::arrive() noexcept {
  const After after = after_;
  FiberState* fiber = left_;
  after_ = After::kNothing;
  left_ = nullptr;
  switch (after) {
    case After::kNothing: return;
    case After::kYield:
      fiber->phase.store(FiberPhase::kQueued, std::memory_order_relaxed);
      if (order_ != nullptr || fiber->pinned.load(std::memory_order_relaxed) != nullptr) {
        push_woken(fiber);
      } else {
        queue_or_inject(fiber);
      }
      return;
    case After::kPark:
      bump(parks_);
      fiber->phase.store(FiberPhase::kParked, std::memory_order_relaxed);
      if (!left_waiter_->commit_park()) push_woken(fiber);
      return;
    case After::kEnd:
      fiber->context.release();
      give_stack(fiber->stack);
      fiber->stack = {};
      scheduler_.ended(fiber);
      return;
  }
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
  // The loop of a fiber that only yields must still see its I/O, timers and what comes from outside.
  FiberState* to = pick();
  if (to == nullptr) {
    check_events();
    to = pick();
  }
  if (to == nullptr) return;
  leave(After::kYield, nullptr, to);
}

void Worker::park_current(Waiter& waiter) noexcept { leave(After::kPark, &waiter, pick()); }

void Worker::end_current() noexcept {
  leave(After::kEnd, nullptr, pick());
  WEFT_CHECK(!"an ended fiber was entered");
  __builtin_unreachable();
}

// --- Queues ---------------------------------------------------------------------------------------------------------

void Worker::queue_or_inject(FiberState* fiber) noexcept {
  if (!queue_.push(fiber)) scheduler_.injector_.push(fiber);
  scheduler_.notify_one();
}

void Worker::push_woken(FiberState* fiber) noexcept {
  fiber->phase.store(FiberPhase::kQueued, std::memory_order_relaxed);
  if (order_ != nullptr) {
    simulated_ready_.push_back(fiber);
    return;
  }
  Worker* home = fiber->pinned.load(std::memory_order_relaxed);
  if (home != nullptr) {
    if (home != this) {
      home->post(fiber);
      return;
    }
    fiber->queue_next = nullptr;
    (pinned_tail_ != nullptr ? pinned_tail_->queue_next : pinned_head_) = fiber;
    pinned_tail_ = fiber;
    return;
  }
  FiberState* displaced = next_.exchange(fiber, std::memory_order_acq_rel);
  if (displaced != nullptr) queue_or_inject(displaced);
}

void Worker::push_spawned(FiberState* fiber) noexcept {
  bump(spawned_);
  if (order_ != nullptr || fiber->pinned.load(std::memory_order_relaxed) != nullptr) {
    push_woken(fiber);
  } else {
    queue_or_inject(fiber);
  }
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

void Worker::wake() noexcept {
  if (sleep_.exchange(kNotified, std::memory_order_acq_rel) == kAsleep) reactor_->wake();
}

// --- Picking --------------------------------------------------------------------------------------------------------

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
  if (reactor_->pending()) reactor_->poll();
  if (timers_.earliest() != Timers::kNothing) {
    const std::int64_t now = scheduler_.now_ns();
    if (timers_.earliest() <= now) timers_.fire(now);
  }
}

FiberState* Worker::pick() noexcept {
  if (order_ != nullptr) return pick_simulated();
  ++tick_;
  if (tick_ % 8 == 0 && reactor_->unsubmitted() != 0) reactor_->submit();
  if (tick_ % kTicksPerCheck == 0) {
    check_events();
    if (FiberState* fiber = scheduler_.injector_.pop()) return fiber;
  }
  if (next_run_ < kNextInARow) {
    if (FiberState* fiber = next_.exchange(nullptr, std::memory_order_acq_rel)) {
      ++next_run_;
      return fiber;
    }
  }
  next_run_ = 0;
  if (FiberState* fiber = inbox_.pop()) return fiber;
  if (FiberState* fiber = pinned_head_) {
    pinned_head_ = fiber->queue_next;
    if (pinned_head_ == nullptr) pinned_tail_ = nullptr;
    return fiber;
  }
  if (FiberState* fiber = queue_.pop()) return fiber;
  return next_.exchange(nullptr, std::memory_order_acq_rel);
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

FiberState* Worker::steal(bool also_next) noexcept {
  const unsigned count = scheduler_.worker_count();
  random_ = random_ * 1664525U + 1013904223U;
  const unsigned start = (random_ >> 16) % count;
  for (unsigned i = 0; i < count; ++i) {
    Worker& victim = scheduler_.worker((start + i) % count);
    if (&victim == this) continue;
    FiberState* fiber = victim.queue_.steal_half(queue_);
    // What a worker woke last runs best where it is, unless the worker does not come to it.
    if (fiber == nullptr && also_next) fiber = victim.next_.exchange(nullptr, std::memory_order_acq_rel);
    if (fiber != nullptr) {
      bump(steals_);
      return fiber;
    }
    // A busy worker's deadlines pass as well.
    if (also_next && victim.timers_.earliest() != Timers::kNothing &&
        victim.timers_.earliest() <= scheduler_.now_ns() && victim.timers_.fire(scheduler_.now_ns()) != 0) {
      if (FiberState* woken = pick()) return woken;
    }
  }
  return nullptr;
}

void Worker::stop_searching() noexcept {
  if (!searching_) return;
  searching_ = false;
  if (scheduler_.end_search() && scheduler_.work_visible()) scheduler_.notify_one();
}

FiberState* Worker::search() noexcept {
  if (!searching_) searching_ = scheduler_.begin_search();
  std::int64_t spin_until = 0;
  for (;;) {
    check_events();
    FiberState* fiber = pick();
    if (fiber == nullptr) fiber = scheduler_.injector_.pop();
    const bool late = spin_until != 0;
    if (fiber == nullptr && searching_) fiber = steal(late);
    if (fiber != nullptr) {
      stop_searching();
      return fiber;
    }
    if (scheduler_.stopping_.load(std::memory_order_relaxed)) return nullptr;
    const std::int64_t now = scheduler_.now_ns();
    if (spin_until == 0) {
      spin_until = now + scheduler_.options().idle_spin.count();
    } else if (now >= spin_until) {
      return nullptr;
    }
    ::sched_yield();  // who gives us work may need this very processor for it; a pause would keep it
  }
}

void Worker::sleep() noexcept {
  sleep_.exchange(kAsleep, std::memory_order_acq_rel);
  scheduler_.list_idle(*this, searching_);
  searching_ = false;
  const bool stay = !scheduler_.work_visible() && inbox_.empty() && !has_cancels_.load(std::memory_order_acquire) &&
                    !scheduler_.stopping_.load(std::memory_order_acquire);
  if (stay) {
    bump(sleeps_);
    const std::int64_t earliest = timers_.earliest();
    std::optional<std::chrono::nanoseconds> timeout;
    if (earliest != Timers::kNothing) timeout = std::chrono::nanoseconds(earliest - scheduler_.now_ns());
    reactor_->wait(timeout);
  }
  sleep_.exchange(kAwake, std::memory_order_acq_rel);
  if (!scheduler_.unlist_idle(*this)) searching_ = true;
}

void Worker::run() {
  set_current_worker(this);
  const SignalStack signal_stack(scheduler_.overflow_watch_.installed());
  while (!scheduler_.stopping_.load(std::memory_order_acquire)) {
    FiberState* fiber = pick();
    if (fiber == nullptr) fiber = search();
    if (fiber != nullptr) {
      stop_searching();
      go(root_, fiber, false);
    } else {
      sleep();
    }
  }
  stop_searching();
  while (stack_count_ > 0) scheduler_.stacks_.give(stacks_[--stack_count_]);
  set_current_worker(nullptr);
}

Status Worker::run_simulated(SimulatedOrder& order) {
  order_ = &order;
  set_current_worker(this);
  Status status;
  while (scheduler_.live() != 0) {
    if (FiberState* fiber = pick_simulated()) {
      go(root_, fiber, false);
    } else if (timers_.earliest() != Timers::kNothing) {
      scheduler_.set_virtual_time(std::max(timers_.earliest(), scheduler_.now_ns()));
      timers_.fire(scheduler_.now_ns());
    } else {
      status = fail(Errc::kBusy, "all fibers wait for each other:\n" + to_text(scheduler_.report()));
      break;
    }
  }
  set_current_worker(nullptr);
  while (stack_count_ > 0) scheduler_.stacks_.give(stacks_[--stack_count_]);
  return status;
}

WorkerCounters Worker::counters() const noexcept {
  return {.switches = switches_.load(std::memory_order_relaxed),
          .parks = parks_.load(std::memory_order_relaxed),
          .spawned = spawned_.load(std::memory_order_relaxed),
          .steals = steals_.load(std::memory_order_relaxed),
          .sleeps = sleeps_.load(std::memory_order_relaxed),
          .wakes_sent = wakes_sent_.load(std::memory_order_relaxed),
          .asleep = asleep()};
}

}  // namespace weft::sched
