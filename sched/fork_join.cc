#include "sched/fork_join.h"

#include <mutex>

#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/fork_deque.h"
#include "sched/scheduler.h"
#include "sched/waiter.h"
#include "sched/worker.h"

namespace weft::sched {

void ForkFrame::push() {
  Worker* worker = current_worker();
  if (worker == nullptr) return;
  FiberState* self = worker->current();
  if (self == nullptr) return;
  parent = self;
  if (worker->simulated()) [[unlikely]] {
    worker->push_spawned(worker->fiber_for(*this));
    simulation_point();
    return;
  }
  ForkDeque* forks = self->forks.load(std::memory_order_relaxed);
  if (forks == nullptr) [[unlikely]]
    forks = worker->give_forks(*self);
  deque = forks;
  forks->push(this);
  worker->scheduler().notify_of_spawned();
}

bool ForkFrame::take_back() noexcept {
  if (deque == nullptr) return parent == nullptr;
  for (;;) {
    ForkFrame* newest = deque->pop();
    if (newest == this) [[likely]]
      return true;
    if (newest == nullptr) return false;
    // Joined out of order: what came later must not run on our frames, which may be what it waits for.
    Worker* worker = current_worker();
    worker->push_spawned(worker->fiber_for(*newest));
  }
}

void ForkFrame::await(bool ask_to_stop) noexcept {
  if (!ask_to_stop) {
    FiberState* begins_here = nullptr;
    {
      const std::lock_guard guard(lock);
      begins_here = runner;
    }
    // One that became a fiber and has not begun can still be called.
    if (begins_here != nullptr && current_worker()->run_inline(*begins_here)) begins_here->unref();  // the scheduler's
  }
  for (;;) {
    Waiter wait;
    FiberState* asked = nullptr;
    {
      const std::lock_guard guard(lock);
      if (done) break;
      if (ask_to_stop && !stop) {
        stop = true;
        asked = runner;
        if (asked != nullptr) asked->ref();
      }
      waiter = &wait;
    }
    if (asked != nullptr) {
      asked->request_stop();
      asked->unref();
    }
    const Outcome outcome = wait.park("fork", Deadline::never(), !ask_to_stop, this);
    const std::lock_guard guard(lock);
    waiter = nullptr;
    if (outcome == Outcome::kCancelled) ask_to_stop = true;
  }
  // The lock was ours after it was done, so the fiber that ran it has let go of the frame.
  runner->unref();
}

void ForkFrame::tell_done() noexcept {
  Waiter* claimed = nullptr;
  {
    const std::lock_guard guard(lock);
    done = true;
    if (waiter != nullptr && waiter->claim(Outcome::kNotified)) claimed = waiter;
  }
  if (claimed != nullptr) claimed->resume();
}

// --- The worker's side ----------------------------------------------------------------------------------------------

ForkDeque* Worker::give_forks(FiberState& fiber) {
  ForkDeque* forks = free_forks_;
  if (forks != nullptr) {
    free_forks_ = forks->next;
  } else {
    forks = scheduler_.make_forks();
  }
  fiber.forks.store(forks, std::memory_order_release);
  fiber.has_forks = true;
  return forks;
}

void Worker::take_forks(FiberState& fiber) noexcept {
  ForkDeque* forks = fiber.forks.load(std::memory_order_relaxed);
  fiber.forks.store(nullptr, std::memory_order_relaxed);
  fiber.has_forks = false;
  forks->next = free_forks_;
  free_forks_ = forks;
}

FiberState* Worker::fiber_for(ForkFrame& frame) {
  FiberState* fiber = new_fiber();
  fiber->begin(frame.parent->name, Body([&frame] {
                 frame.run(frame);
                 frame.tell_done();
               }));
  fiber->spawned_by.store(frame.parent->id, std::memory_order_relaxed);
  fiber->stack_pages = frame.parent->stack_pages;
  if (frame.parent->classed) [[unlikely]]
    fiber->begin_scheduling(frame.parent, nullptr, scheduler_.classes_.serial());
  bool stop = frame.parent->stop_requested.load(std::memory_order_relaxed);
  {
    const std::lock_guard guard(frame.lock);
    frame.runner = fiber;
    stop = stop || frame.stop;
  }
  if (stop) fiber->stop_requested.store(true, std::memory_order_relaxed);
  return fiber;
}

ForkDeque* Worker::forks_of(const FiberState* fiber) noexcept {
  if (fiber == nullptr) return nullptr;
  ForkDeque* forks = fiber->forks.load(std::memory_order_acquire);
  return forks != nullptr && !forks->empty() ? forks : nullptr;
}

void Worker::promote_forks_of(FiberState& fiber) {
  ForkDeque* forks = fiber.forks.load(std::memory_order_relaxed);
  while (!forks->empty())
    if (ForkFrame* frame = forks->steal()) push_spawned(fiber_for(*frame));
}

FiberState* Worker::steal_fork(Worker& victim) noexcept {
  ForkDeque* forks = forks_of(victim.watched_current());
  ForkFrame* frame = forks != nullptr ? forks->steal() : nullptr;
  if (frame == nullptr) return nullptr;
  bump(spawned_);
  return fiber_for(*frame);
}

}  // namespace weft::sched
