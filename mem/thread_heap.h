// mem/thread_heap.h - which heap the calling thread has. Internal.
//
// One pointer in thread-local storage (initial-exec: one load). A thread without a heap points to a heap whose lists are empty, so
// the fast paths need no test for it. No address of thread-local storage is kept across a call that may park a fiber.
// A thread's heap goes back when its last destructor of thread-specific data has run; a thread that allocates after that gets one
// for the rest of its life, one that only frees hands blocks on one by one.
// Tests: tests/mem/threads_test.cc, tests/mem/fork_test.cc.
#pragma once

#include <array>
#include <cstdint>

#include "mem/hardened_lists.h"
#include "mem/local_heap.h"
#include "mem/size_class.h"

namespace weft::mem {

// Also the lists of a thread without any in hardened mode (hardened_lists.h).
extern constinit HardenedLists no_heap;
extern constinit thread_local LocalHeap* current_heap;

// The class of a request: kClassTable, but in hardened mode with room for a canary, and class 0, of which no list has a block, for what
// does not leave any. Written once, before the first block.
[[gnu::visibility("hidden")]] extern constinit std::array<std::uint8_t, kTableMax + 1> class_table;

inline bool has_heap() noexcept { return current_heap != &no_heap; }

// What a process needs once: handlers of fork and thread exit.
void prepare_process() noexcept;
// The caller's heap, made if need be. nullptr: no memory.
LocalHeap* attach_heap() noexcept;
// The same for who only frees; nullptr also when the thread is about to end.
LocalHeap* attach_heap_to_free() noexcept;

}  // namespace weft::mem
