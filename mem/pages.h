// mem/pages.h - whole pages of the heap, for pools that look after their own: fiber stacks, I/O buffers.
//
//   sched's stacks (Runtime::Options::stack_memory), mem::IoBufferPool -> [pages] -> PageRuns
//
// What is taken counts as live, in the numbers of its use, and against limits, so that one heap answers for all memory of a process.
// A pool may do with it what it likes: forbid parts (mprotect, MADV_GUARD_INSTALL), advise, give pages to the kernel. All of that is undone
// when it comes back. Taking and giving cost microseconds: take much at a time.
// Thread- and fiber-safe; nothing parks. free() of such pages ends the process with a message.
// Tests: tests/mem/pages_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::mem {

enum class PageUse : std::uint8_t { kStacks, kBuffers };
inline constexpr std::size_t kPageUses = 2;

// Readable and writable, aligned to 16 KiB, contents undefined. `bytes` is rounded up to 16 KiB. nullptr with errno ENOMEM: no memory.
[[gnu::visibility("default")]] void* take_pages(std::size_t bytes, PageUse use) noexcept;
// The whole of what was taken at `start`.
[[gnu::visibility("default")]] void give_pages(void* start) noexcept;

}  // namespace weft::mem
