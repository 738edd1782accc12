// mem/heap.h - heaps of one's own: apart from all others, with a limit, and gone at once.
//
// Thread-safe: each call holds the heap's lock for a few hundred nanoseconds at most; nothing parks. What a heap gives out may also be
// freed, resized and measured by the functions of mem/allocate.h, and so by free() where libweft-malloc is linked.
// Failure is nullptr with errno ENOMEM: no memory, or the limit.
// Tests: tests/mem/heap_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace weft::mem {

class LocalHeap;

class [[gnu::visibility("default")]] Heap {
 public:
  // `limit_bytes`: of slabs and large blocks, in whole units of 16 KiB. std::nullopt: no memory.
  static std::optional<Heap> create(std::size_t limit_bytes = SIZE_MAX) noexcept;
  // All blocks go with it. Nobody may use or free them any more. O(slabs + large blocks).
  ~Heap();
  Heap(Heap&& other) noexcept : heap_(std::exchange(other.heap_, nullptr)) {}
  Heap& operator=(Heap&& other) noexcept {
    std::swap(heap_, other.heap_);
    return *this;
  }

  void* allocate(std::size_t size) noexcept;
  void* allocate_zeroed(std::size_t size) noexcept;
  // `align`: a power of two; others are refused with EINVAL.
  void* allocate_aligned(std::size_t align, std::size_t size) noexcept;
  // The same heap's, always; size > 0.
  void* reallocate(void* block, std::size_t size) noexcept;
  void release(void* block) noexcept;

  // What it has taken, in whole units.
  std::size_t held_bytes() const noexcept;

 private:
  explicit Heap(LocalHeap* heap) noexcept : heap_(heap) {}
  LocalHeap* heap_;
};

}  // namespace weft::mem
