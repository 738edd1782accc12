// sched/runtimes.h - the schedulers that live in this process, for those who look from outside: a signal's dump, a debugger. Internal.
//
//   Scheduler  ->  [list]  ->  report_all(), sched/weft-gdb.py
//
// The debugger knows no types where a program was built with -g1 or stripped, and a core runs no code: it reads the table
// `weft_sched_layout` (runtimes.cc), which says where in a scheduler, a worker and a fiber the fields lie.
//
// Locks: of the list, a std::mutex, before the registry's locks. Nothing parks. Tests: tests/sched/inspect_test.cc, gdb_test.cc.
#pragma once

#include "kernel/function_ref.h"

namespace weft::sched {

class Scheduler;

void list_runtime(Scheduler& scheduler) noexcept;
void unlist_runtime(Scheduler& scheduler) noexcept;
// Real ones, no simulations. They cannot end meanwhile.
void for_each_runtime(FunctionRef<void(const Scheduler&)> visit);

// For fork(), see after_fork.h: nobody comes to the list or leaves it meanwhile; in the child, where the caller is the only thread,
// those listed are marked as left behind, and true is said if there were any.
void hold_runtimes() noexcept;
void let_go_of_runtimes() noexcept;
bool leave_runtimes_behind() noexcept;

}  // namespace weft::sched
