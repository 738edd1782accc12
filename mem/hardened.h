// mem/hardened.h - the mode that finds misuse: WEFT_HEAP=hardened in the environment at start. Internal.
//
//   allocate, release -> [hardened] -> HardenedLists -> HardenedSlabs -> PageRuns
//                                   -> large blocks and their quarantine
//
// Blocks have the same classes and the same map as in the fast mode, which pays nothing for this one. There are two levels (marked_block.h):
// usually malloc's fast path hands out what is at most a kilobyte, plain blocks, and only free() looks; with `hardened=full` no thread
// has a list that the fast path would find, every call comes here, and all blocks are sized.
//   free:    twice, of an address inside a block or where none was ever -> before it there is no mark of a block in use
//   beyond:  a canary from the byte after the last on, looked at when the block is freed or grows; behind a plain block the mark of the
//            next, looked at when that one is freed; a large block has an inaccessible page behind, unless it has grown
//   before:  the mark of the block itself
//   after:   a freed block is cleared where it begins (a sized one also where it ends), waits in its thread's lists, and must still be
//            clear when it leaves them; a large one is inaccessible for a while
//   size:    a delete that says another size than was asked for; of plain blocks one of another class
// What is found ends the process with a message (fatal.h). Two threads that free the same block at the same moment may both succeed.
// Blocks of a mem::Heap are not looked at.
// Locks    those of HardenedSlabs, of the lists of ended threads, of the quarantine, before that of PageRuns; a fork() holds them.
// Tests: tests/mem/hardened_test.cc, which counts what tests/preload/misuse.cc gets away with.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mem/hardened_lists.h"
#include "mem/hardened_slabs.h"
#include "mem/marked_block.h"
#include "mem/segment.h"
#include "mem/thread_heap.h"

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
  return (entry & kOwnerMask) == reinterpret_cast<std::uintptr_t>(&hardened_owner);
}
// What free() need not do each time: an aligned block, a quarantine that is not yet full, samples; or what is no block in use.
[[gnu::cold]] void release_plain_rarely(std::byte* block, unsigned size_class) noexcept;
[[gnu::cold]] void check_plain_size(std::byte* block, unsigned size_class, std::size_t said) noexcept;

// Blocks of slabs of the first segment, as release(). `heap`: the current one.
[[gnu::always_inline]] inline void release_plain(std::byte* block, unsigned size_class, LocalHeap& heap) noexcept {
  if (!marked::is_in_use(block)) [[unlikely]]
    return release_plain_rarely(block, size_class);
  auto& lists = static_cast<HardenedLists&>(heap);
  std::byte* oldest = lists.exchange(size_class, block);
  if (oldest == nullptr) [[unlikely]]
    return release_plain_rarely(block, size_class);
  marked::retire_plain(block, size_class);
  if (!marked::plain_is_untouched(oldest, size_class)) [[unlikely]]
    return report_touched(oldest, size_class);
  marked::set_in_use(oldest);
  lists.push(size_class, oldest);
}
[[gnu::always_inline]] inline void expect_plain_size(std::byte* block, unsigned size_class, std::size_t said) noexcept {
  if (said > kTableMax || class_table[said] != size_class) [[unlikely]]
    check_plain_size(block, size_class, said);
}
void release_sized(std::byte* block, unsigned size_class, std::size_t size) noexcept;
// False: not a block of this mode. `size`: what the caller says it is, or kSizeUnknown.
bool release(void* block, std::size_t size) noexcept;
// What was asked for; kSizeUnknown: not a block of this mode.
std::size_t size_of(const void* block) noexcept;
// The block with another size where it is, or nullptr: it has to move. Its size is known.
void* resize(void* block, std::size_t size) noexcept;
// For what grows from one place to another. nullptr: no memory, and errno is as it was.
void* allocate_for_growth(std::size_t size) noexcept;

// What waits in the lists of the caller, and of threads that have ended, goes back.
void flush() noexcept;

void before_fork() noexcept;
void after_fork() noexcept;

}  // namespace weft::mem::hardened
