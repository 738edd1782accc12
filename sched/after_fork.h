// sched/after_fork.h - a runtime in the child of a fork is refused by name instead of waiting for threads that are not there. Internal.
//
//   fork()  ->  child: [mark each runtime, leave the worker]  ->  Scheduler::spawn(), make_ready(), the end of a fiber's body
//
// Of a process that forks only the calling thread goes on in the child; workers, watchdog and rings are the parent's alone.
// Whoever called fork() on a fiber goes on as a plain thread on that fiber's stack: it may lock, sleep, exec and exit as such,
// and may make a runtime of its own, but there is nobody to return to. What was a runtime's is left where it lies.
// Tests: tests/sched/after_fork_test.cc.
#pragma once

namespace weft::sched {

class Scheduler;

// Once in each process that makes a runtime; from the second call on it does nothing.
void watch_for_forks() noexcept;

// Whether this is a child of a process that had runtimes. Constant but in fork() itself, where there is one thread.
extern bool forked_with_runtimes;
// Ends the process, and says why, if the scheduler was made before the fork.
void refuse_if_left_behind(const Scheduler* scheduler) noexcept;

}  // namespace weft::sched
