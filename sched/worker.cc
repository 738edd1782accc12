// sched/worker.cc - a worker's life: its thread, its loop, what it is told from outside and what it tells.
#include "sched/worker.h"

#include <algorithm>
#include <mutex>
#include <span>
#include <utility>

#include "sched/current.h"
#include "sched/scheduler.h"

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

void Worker::count_ended() noexcept {
  ended_count_.store(ended_count_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  if (scheduler_.closing_.load(std::memory_order_relaxed)) [[unlikely]]
    scheduler_.tell_closer();
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
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (sleep_.load(std::memory_order_relaxed) == kAwake) return;
  if (sleep_.exchange(kNotified, std::memory_order_acq_rel) == kAsleep) reactor_->wake();
}

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

void Worker::run() {
  enter_thread();
  const SignalStack signal_stack(scheduler_.overflow_watch_.installed());
  while (!scheduler_.stopping_.load(std::memory_order_acquire)) {
    FiberState* fiber = pick(After::kNothing);
    if (fiber == nullptr) fiber = search();
    if (fiber != nullptr) {
      stop_searching();
      enter(fiber);
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
      enter(fiber);
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
