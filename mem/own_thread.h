// mem/own_thread.h - a thread of the heap's own in somebody else's program. Internal.
//
// It hears no signals, since those are the program's, nobody waits for it, and its stack is small: 256 KiB, of which it touches a page or
// two. It should have no heap, and so allocate nothing.
#pragma once

namespace weft::mem {

struct OwnThread {
  const char* name;  // at most 15 bytes
  void (*body)() noexcept;
};

// `thread` must stay. Allocates: not within an allocation. False: errno says why.
bool start_own_thread(const OwnThread& thread) noexcept;

// A program that has to change all of its threads before it goes on (capabilities, rules of Landlock) cannot reach one that hears no
// signals. Between the two none is started; whoever was asked for meanwhile is by the second. Not thread-safe; once in a process.
[[gnu::visibility("default")]] void hold_own_threads() noexcept;
[[gnu::visibility("default")]] void release_own_threads() noexcept;

}  // namespace weft::mem
