// mem/allocate.h - the general heap: what malloc and its family are made of, under names of our own.
//
//   malloc.cc, operator_new.cc (libweft-malloc), programs -> [allocate] -> LocalHeap, large -> PageRuns
//
// All functions are thread-safe, may be called from fibers, and neither throw nor park. Sizes are in bytes. A block is aligned to
// 16, or to 8 if it is smaller than 16 bytes. Failure is nullptr with errno ENOMEM; nothing else changes errno. A size of 0 gives a
// block of its own. release(nullptr) does nothing.
// A pointer that is not of this heap goes to `foreign_free` (by default it is left alone); one into memory of this heap at which
// no slab and no large block lies ends the process with a message.
// Tests: tests/mem/allocate_test.cc, tests/mem/model_test.cc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mem/segment.h"
#include "mem/thread_heap.h"

namespace weft::mem {

// No request of more than this many bytes is met: differences of pointers must fit.
inline constexpr std::size_t kMaxRequest = PTRDIFF_MAX;

namespace detail {
void* allocate_slow(std::size_t size) noexcept;
void release_slow(void* block) noexcept;
void release_other(void* block, std::size_t unit, std::uintptr_t tag, LocalHeap& heap) noexcept;
void release_slow_sized(void* block, std::size_t size) noexcept;
void release_other_sized(void* block, std::size_t size, std::size_t unit, std::uintptr_t tag, LocalHeap& heap) noexcept;
}  // namespace detail

// 12 instructions when the list has a block.
[[gnu::always_inline]] inline void* allocate(std::size_t size) noexcept {
  if (size <= kTableMax) [[likely]] {
    void* block = current_heap->pop(class_table[size]);
    if (block != nullptr) [[likely]]
      return block;
  }
  return detail::allocate_slow(size);
}

// 16 instructions when the block is of the active slab of the caller's heap: then its map entry is the heap's address and the class.
[[gnu::always_inline]] inline void release(void* block) noexcept {
  const std::size_t unit = (reinterpret_cast<std::uintptr_t>(block) - first_base) >> kUnitShift;
  if (unit >= first_units) [[unlikely]]
    return detail::release_slow(block);
  LocalHeap* heap = current_heap;
  const std::uintptr_t tag = first_map[unit].load(std::memory_order_relaxed) ^ reinterpret_cast<std::uintptr_t>(heap);
  if (tag >= kCounted) return detail::release_other(block, unit, tag, *heap);
  heap->push(static_cast<unsigned>(tag), block);
}

// The same with what the caller believes its size to be, which is looked at in hardened mode.
[[gnu::always_inline]] inline void release_sized(void* block, std::size_t size) noexcept {
  const std::size_t unit = (reinterpret_cast<std::uintptr_t>(block) - first_base) >> kUnitShift;
  if (unit >= first_units) [[unlikely]]
    return detail::release_slow_sized(block, size);
  LocalHeap* heap = current_heap;
  const std::uintptr_t tag = first_map[unit].load(std::memory_order_relaxed) ^ reinterpret_cast<std::uintptr_t>(heap);
  if (tag >= kCounted) return detail::release_other_sized(block, size, unit, tag, *heap);
  heap->push(static_cast<unsigned>(tag), block);
}

void* allocate_zeroed(std::size_t count, std::size_t size) noexcept;
// `align`: a power of two; others fail with EINVAL.
void* allocate_aligned(std::size_t align, std::size_t size) noexcept;
// As realloc(3) of glibc: nullptr allocates, and a size of 0 releases the block and gives nullptr.
void* reallocate(void* block, std::size_t size) noexcept;
// Bytes that may be used at `block`, at least those asked for. 0 for nullptr and for what is not ours.
std::size_t usable_size(const void* block) noexcept;
bool is_ours(const void* block) noexcept;

// Gives back what waits in the caller's heap, and then up to `budget_bytes` of pages that nobody uses. For a worker that is about to
// park. Returns bytes that went to the kernel.
std::size_t heap_idle(std::size_t budget_bytes) noexcept;
// All that can go: of heaps without owner as well, leaving `keep_bytes`.
std::size_t trim(std::size_t keep_bytes) noexcept;

// Whom a pointer that is not ours is handed to.
extern constinit std::atomic<void (*)(void*)> foreign_free;
extern constinit std::atomic<void* (*)(void*, std::size_t)> foreign_reallocate;
extern constinit std::atomic<std::size_t (*)(void*)> foreign_usable_size;

}  // namespace weft::mem
