// tools/every_thread.h - runs a call once on every thread of the process.
//
// Capabilities, no_new_privs and Landlock's rules belong to a thread, which hands them on to those it makes. A server whose threads
// all run has to change each of them; glibc does so for set*id(2), and for nothing else. As there, a signal carries the call to
// one thread after another, until a look at /proc/self/task shows none that has not run it: from then on whoever is new was made
// by one that has.
//
// The kernel's own workers of an io_uring are left out: they act with the credentials of who handed in the request.
// Blocks the calling thread, for about 50 us a thread. Tests: tests/tools/every_thread_test.cc.
#pragma once

#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::tools {

// `call` may do only what a signal handler may (signal-safety(7)); it returns 0 or an errno. The first error ends it, with the other
// threads left as they are. One at a time in a process. Errors: that of the call; kTimedOut if a thread does not listen for
// ten seconds; kUnsupported without /proc.
Status on_every_thread(FunctionRef<int()> call);

}  // namespace weft::tools
