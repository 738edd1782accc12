// sched/saved_frame.h - where in a switched-out context its program counter and frame pointer lie. Internal to sched/.
//
// The layout is that of Boost.Context's fcontext_t, which our own switch keeps. For backtraces of parked fibers, and, by way of
// runtimes.cc's table, for debuggers. Tests: tests/sched/inspect_test.cc finds a parked fiber's functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "sched/backtrace.h"

namespace weft::sched {

#if defined(__x86_64__)
// Control words, r12, r13, r14, r15, rbx, rbp, rip.
inline constexpr std::size_t kSavedFramePointerAt = 0x30, kSavedPcAt = 0x38, kSavedFrameBytes = 0x40;
#elif defined(__aarch64__)
// d8 to d15, x19 to x28, x29 (the frame pointer), x30, the program counter.
inline constexpr std::size_t kSavedFramePointerAt = 0x90, kSavedPcAt = 0xa0, kSavedFrameBytes = 0xb0;
#else
inline constexpr std::size_t kSavedFramePointerAt = 0, kSavedPcAt = 0, kSavedFrameBytes = 0;  // not known
#endif

// `stack_pointer` as Context keeps it. The fiber may be about to go on: what is read is then nonsense, but read safely as long as
// [stack_pointer, + kSavedFrameBytes) is memory.
__attribute__((no_sanitize("address", "thread"))) inline FramePlace saved_frame(const void* stack_pointer) noexcept {
  if constexpr (kSavedFrameBytes == 0) return {};
  const auto* frame = static_cast<const volatile std::byte*>(stack_pointer);
  const auto word_at = [frame](std::size_t at) __attribute__((no_sanitize("address", "thread"))) {
    return reinterpret_cast<const void*>(*reinterpret_cast<const volatile std::uintptr_t*>(frame + at));
  };
  return {.pc = word_at(kSavedPcAt), .frame_pointer = word_at(kSavedFramePointerAt)};
}

}  // namespace weft::sched
