// sched/current.h - which worker and which fiber the caller is on. Internal to sched/.
//
// The rule of thread-local state: compilers assume that a function stays on its thread, and keep the address of a
// thread_local across a call that moves the fiber to another. So sched has one thread_local, and these accessors, opaque to
// the optimizer, are the only way to it. Their answers too go stale at a park: ask again after each.
// Tests: tests/sched/context_test.cc.
#pragma once

#include <atomic>

namespace weft::sched {

class Worker;
struct FiberState;

// Null on a thread that is no worker's.
Worker* current_worker() noexcept;
// Null on a plain thread, and in a worker's own loop.
FiberState* current_fiber() noexcept;
void set_current_worker(Worker* worker) noexcept;

// In a Simulation, a place where another fiber may go first. Elsewhere one relaxed load.
extern std::atomic<int> simulations_running;
void simulation_point_slow() noexcept;
inline void simulation_point() noexcept {
  if (simulations_running.load(std::memory_order_relaxed) != 0) [[unlikely]]
    simulation_point_slow();
}

}  // namespace weft::sched
