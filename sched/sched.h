// sched/sched.h - all of the library: what a program includes as <weft/sched.h>.
//
//   sched::Runtime runtime = sched::Runtime::create({.workers = 4}).value();
//   int answer = runtime.block_on([] { return compute_on_fibers(); });
//
// These headers, and those they include, are what is installed and what the shared library shows; every other header of this
// folder says "Internal" and is neither. None of them brings in Boost or liburing, defines a macro without WEFT_ in front, or
// needs code to run before main().
// Link: pkg-config weft-sched, or find_package(weft COMPONENTS sched) and weft::sched; sched/README.md says more.
// Tests: tests/library/.
#pragma once

#if __cplusplus < 202100L
#error "weft/sched.h needs C++23: compile with -std=c++23"
#endif

#include "kernel/clock.h"
#include "kernel/error.h"
#include "kernel/result.h"
#include "sched/barrier.h"
#include "sched/channel.h"
#include "sched/condition_variable.h"
#include "sched/coroutine.h"
#include "sched/datagrams.h"
#include "sched/deadline.h"
#include "sched/descriptor.h"
#include "sched/fiber_local.h"
#include "sched/file.h"
#include "sched/file_disk.h"
#include "sched/file_system.h"
#include "sched/fork_join.h"
#include "sched/hog.h"
#include "sched/inspect.h"
#include "sched/io.h"
#include "sched/latch.h"
#include "sched/listener.h"
#include "sched/mutex.h"
#include "sched/network.h"
#include "sched/offload.h"
#include "sched/pass_descriptors.h"
#include "sched/process.h"
#include "sched/resolve.h"
#include "sched/runtime.h"
#include "sched/scheduling.h"
#include "sched/select.h"
#include "sched/semaphore.h"
#include "sched/signal.h"
#include "sched/simulated_files.h"
#include "sched/simulated_host.h"
#include "sched/simulated_network.h"
#include "sched/simulation.h"
#include "sched/spawn.h"
#include "sched/stop.h"
#include "sched/stream.h"
#include "sched/task.h"
#include "sched/task_group.h"
#include "sched/timer.h"
#include "sched/trace.h"
#include "sched/wait_group.h"
