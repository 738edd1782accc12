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
inline Worker* current_worker() noexcept;
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

#if defined(__x86_64__) && defined(__ELF__) && !defined(__ILP32__)
// The address is made of the thread's own register in the very instructions that load it, so there is nothing for a compiler
// to keep. (The initial-exec model of thread-local storage; the linker makes the first load a constant in programs.)
inline Worker* current_worker() noexcept {
  Worker* worker;
  asm volatile(
      "movq weft_sched_this_worker@gottpoff(%%rip), %0\n\t"
      "movq %%fs:(%0), %0"
      : "=r"(worker)
      :
      : "memory");
  return worker;
}
#else
Worker* current_worker_out_of_line() noexcept;
inline Worker* current_worker() noexcept { return current_worker_out_of_line(); }
#endif

}  // namespace weft::sched
