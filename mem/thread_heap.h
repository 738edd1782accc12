// mem/thread_heap.h - which heap the calling thread has. Internal.
//
// One pointer in thread-local storage (initial-exec: one load). A thread without a heap points to a heap whose lists are empty, so
// the fast paths need no test for it. No address of thread-local storage is kept across a call that may park a fiber.
// A thread's heap goes back when its last destructor of thread-specific data has run; a thread that allocates after that gets one
// for the rest of its life, one that only frees hands blocks on one by one.
// Tests: tests/mem/threads_test.cc, tests/mem/fork_test.cc.
#pragma once

#include "mem/local_heap.h"

namespace weft::mem {

extern constinit LocalHeap no_heap;
extern constinit thread_local LocalHeap* current_heap;

inline bool has_heap() noexcept { return current_heap != &no_heap; }

// What a process needs once: handlers of fork and thread exit.
void prepare_process() noexcept;
// The caller's heap, made if need be. nullptr: no memory.
LocalHeap* attach_heap() noexcept;
// The same for who only frees; nullptr also when the thread is about to end.
LocalHeap* attach_heap_to_free() noexcept;

}  // namespace weft::mem
