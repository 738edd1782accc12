// mem/hardened.h - the mode that finds misuse: WEFT_HEAP=hardened in the environment at start. Internal.
//
//   allocate, release -> [hardened] -> HardenedCache -> HardenedSlabs -> PageRuns
//                                   -> large blocks and their quarantine
//
// No thread has a heap then: the lists of `no_heap` stay empty, so that every call takes the slow path and comes here, and the fast mode
// pays nothing. Blocks have the same classes and the same map; what each block is stands apart (Segment::states).
//   free:    twice, of an address inside a block or where none was ever -> known exactly
//   beyond:  a keyed canary from the byte after the last on (canary.h), looked at when the block is freed or grows; a large block has an
//            inaccessible page behind, unless it has grown
//   before:  the end of the block before, or of the slab before, holds a canary; looked at when that one is freed or given out
//   after:   a freed block is cleared (the first 64 bytes and the last 16), waits in its thread's cache, and must still be clear when it
//            is given out again; a large one is inaccessible for a while
//   size:    a delete that says another size than was asked for
// What is found ends the process with a message (fatal.h). Two threads that free the same block at the same moment may both succeed.
// Blocks of a mem::Heap are not looked at.
// Locks    those of HardenedSlabs, of the caches, of the quarantine, before that of PageRuns; a fork() holds them.
// Tests: tests/mem/hardened_test.cc, which counts what tests/preload/misuse.cc gets away with.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mem/hardened_slabs.h"
#include "mem/segment.h"

namespace weft::mem::hardened {

inline constexpr std::size_t kSizeUnknown = SIZE_MAX;

enum class Mode : std::uint8_t { kUndecided, kOff, kOn };
[[gnu::visibility("hidden")]] extern constinit std::atomic<Mode> mode;

// Reads the environment, at the first call of the process.
bool decide() noexcept;
inline bool on() noexcept {
  const Mode now = mode.load(std::memory_order_acquire);
  if (now == Mode::kOff) [[likely]]
    return false;
  return now == Mode::kOn || decide();
}

// `align`: a power of two. `zero`: whether all bytes must be. nullptr with errno ENOMEM: no memory.
void* allocate(std::size_t size, std::size_t align, bool zero) noexcept;
// The same for 16 bytes of alignment, and any bytes.
void* allocate(std::size_t size) noexcept;
// Whether an entry of the map is that of a slab of this mode.
inline bool owns(std::uintptr_t entry) noexcept {
  return (entry & ~kTagMask) == reinterpret_cast<std::uintptr_t>(&hardened_owner);
}
// A block of such a slab of the first segment, as release().
void release_small(void* block, std::uintptr_t entry, std::size_t size) noexcept;
// False: not a block of this mode. `size`: what the caller says it is, or kSizeUnknown.
bool release(void* block, std::size_t size) noexcept;
// What was asked for; kSizeUnknown: not a block of this mode.
std::size_t size_of(const void* block) noexcept;
// The block with another size where it is, or nullptr: it has to move. Its size is known.
void* resize(void* block, std::size_t size) noexcept;
// For what grows from one place to another. nullptr: no memory, and errno is as it was.
void* allocate_for_growth(std::size_t size) noexcept;

// What waits in the caller's cache goes back.
void flush() noexcept;

void before_fork() noexcept;
void after_fork() noexcept;

}  // namespace weft::mem::hardened
