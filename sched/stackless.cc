// sched/stackless.cc - fibers that cannot begin because the system has no memory map for one more stack. Part of the scheduler.
//
//   Worker::bind_stack() fails  ->  [stackless]  ->  a stack comes back  ->  the injector
//
// Spawning has long succeeded by then (a stack is bound late), so there is nobody to tell: the fiber waits until another that has a
// stack ends. Only when no stack is out, and so none can come back, is it an error, which ends the process with advice.
//
// Whoever waits counts itself before it looks whether a stack is free; whoever gives one back does so before it looks at the count;
// one that lies in a worker's magazine is given back when that worker goes to sleep, for which all are woken.
// Tests: tests/sched/stackless_test.cc.
#include <cstdio>
#include <cstdlib>

#include "sched/current.h"
#include "sched/scheduler.h"

namespace weft::sched {

void Scheduler::wait_for_stack(FiberState& fiber, const Error& why) noexcept {
  // Read before it is pushed: it may be anywhere afterwards.
  const std::size_t wanted = fiber.stack_bytes();
  if (stacks_.out() == 0 && stacks_.made_of(wanted) == 0) {
    std::fprintf(stderr, "weft: fiber \"%s\" cannot start: %s\n", fiber.name, why.message().c_str());
    std::abort();
  }
  fiber.wait_reason.store(kWaitsForStack, std::memory_order_relaxed);
  stackless_count_.fetch_add(1, std::memory_order_seq_cst);
  stackless_.push(&fiber);
  if (stacks_.free_of(wanted) != 0) stack_came_back();
  const Worker* here = current_worker();
  for (auto& worker : workers_)
    if (worker.get() != here) worker->wake();
}

void Scheduler::stack_came_back() noexcept {
  FiberState* fiber = stackless_.pop();
  if (fiber == nullptr) return;
  stackless_count_.fetch_sub(1, std::memory_order_seq_cst);
  fiber->wait_reason.store(nullptr, std::memory_order_relaxed);
  if (Worker* home = fiber->pinned.load(std::memory_order_relaxed)) {
    home->post(fiber);
  } else {
    injector_.push(fiber);
    notify_one();
  }
}

}  // namespace weft::sched
