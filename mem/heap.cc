// mem/heap.cc - see heap.h.
#include "mem/heap.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "mem/allocate.h"
#include "mem/heap_registry.h"
#include "mem/large.h"

namespace weft::mem {

std::optional<Heap> Heap::create(std::size_t limit_bytes) noexcept {
  LocalHeap* heap = heap_registry.attach_private();
  if (heap == nullptr) return std::nullopt;
  heap->set_limit(limit_bytes == SIZE_MAX ? SIZE_MAX : limit_bytes / kUnitBytes);
  return Heap(heap);
}

Heap::~Heap() {
  if (heap_ == nullptr) return;
  if (!heap_->lock_private()) return;
  heap_->destroy_slabs();
  while (heap_->large_blocks != nullptr) {
    Descriptor& run = *heap_->large_blocks;
    heap_->large_blocks = run.next;
    heap_->discharge(run.units);
    run.large.heap.store(nullptr, std::memory_order_relaxed);
    free_large(run);
  }
  heap_->let_go();
  heap_registry.detach_private(*heap_);
}

void* Heap::allocate(std::size_t size) noexcept { return allocate_aligned(size > 8 ? kMinAlign : 8, size); }

void* Heap::allocate_aligned(std::size_t align, std::size_t size) noexcept {
  if (!std::has_single_bit(align)) {
    errno = EINVAL;
    return nullptr;
  }
  void* block = nullptr;
  const unsigned size_class =
      size > kMaxSmall || align > kUnitBytes ? kClasses : aligned_class(size, std::max(align, std::size_t{8}));
  const auto take = [&]() noexcept -> void* {
    if (size_class == kClasses)
      return size <= kMaxRequest ? allocate_large(size, std::max(align, kUnitBytes), false, heap_) : nullptr;
    void* listed = heap_->pop(size_class);
    return listed != nullptr ? listed : heap_->refill(size_class);
  };
  if (heap_->lock_private()) {
    block = take();
    if (block == nullptr) {
      // What waits in lists of other classes counts as well.
      heap_->flush();
      block = take();
    }
    heap_->let_go();
  }
  if (block == nullptr) errno = ENOMEM;
  return block;
}

void* Heap::allocate_zeroed(std::size_t size) noexcept {
  void* block = allocate(size);
  if (block != nullptr) std::memset(block, 0, size);
  return block;
}

void* Heap::reallocate(void* block, std::size_t size) noexcept {
  if (block == nullptr) return allocate(size);
  const std::size_t room = usable_size(block);
  if (size <= room && size > room / 2) return block;
  void* moved = allocate(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(room, size));
  release(block);
  return moved;
}

void Heap::release(void* block) noexcept { mem::release(block); }

std::size_t Heap::held_bytes() const noexcept { return heap_->held_units() * kUnitBytes; }

}  // namespace weft::mem
