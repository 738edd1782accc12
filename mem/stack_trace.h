// mem/stack_trace.h - who called the heap: return addresses, the caller's first. Internal.
//
// By the unwinder of libgcc, so that programs without frame pointers have stacks, too (Debian's have none). It neither allocates nor takes a
// lock of the dynamic linker's (glibc 2.35 finds tables without); should it allocate all the same, is_tracing() tells. The
// preloaded library needs libc alone and loads libgcc's when tracing is first asked for, never within a call of malloc.
// Functions of ours are left out: those a program calls, and those they end with, lie in a section of their own (WEFT_HEAP_ENTRY), and
// what is above the last of these on the stack is the caller's.
// Tests: tests/mem/stack_trace_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <span>

// Marks each function by which a program enters the slow paths, or which may stand in its place on the stack because it is the last it calls.
#define WEFT_HEAP_ENTRY [[gnu::section("weft_heap")]]

namespace weft::mem {

struct StackTrace {
  static constexpr std::size_t kMostFrames = 48;
  std::array<void*, kMostFrames> frames;
  std::size_t depth = 0;

  std::span<void* const> span() const noexcept { return {frames.data(), depth}; }
};

// May allocate, so not from within an allocation. False: there is no unwinder, and traces are empty.
bool prepare_stack_traces() noexcept;
// The calling thread's. 2 to 20 us.
void trace_stack(StackTrace& into) noexcept;
// This thread is within trace_stack().
bool is_tracing() noexcept;

}  // namespace weft::mem
