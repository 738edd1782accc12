// tools/server_heap.h - has malloc give back to the system what a server has freed, and the fibers' stacks come from it.
//
//   mount_weft (start), mount_server (now and then) -> [server_heap] -> glibc, or the heap of this build (HEAP=weft)
//
// glibc is made for programs that end: it keeps freed blocks below the highest one in use, raises the size from which a block is a
// mapping of its own up to 32 MiB, and opens arenas by the dozen. A server that has held a million inodes for a minute would be
// that large for months.
#pragma once

#include <cstddef>

#include "sched/stack_memory.h"

namespace weft::tools {

// Before the first thread starts.
void bound_heap() noexcept;
// Gives back free memory if there is more of it than `keep_bytes`. Takes milliseconds, so on a thread beside the workers.
void trim_heap(std::size_t keep_bytes) noexcept;

// Once the process is confined. Until then our own heap, if it is this build's, starts no thread: it would hear no signals, and confine() could
// not take its privileges. From the start of every program that is linked with this file.
void start_heap_threads() noexcept;

// Of our own heap (else nothing): what waits in the lists of the workers' threads goes where it belongs, and what nobody uses back to
// the system. From a fiber; parks. Microseconds a worker.
void flush_workers();

// Of the heap of mem/: sched and mem do not know each other, so they are introduced here.
sched::StackMemory stacks_of_heap() noexcept;
// The same if malloc is that heap, else the default: one heap answers for all that a server holds.
sched::StackMemory server_stacks() noexcept;

}  // namespace weft::tools
