// mem/heap_registry.h - all heaps of threads: those in use, those whose thread has ended, and new ones. Internal.
//
// Heaps are never destroyed. One whose thread has ended is the next thread's; until then its slabs with free blocks are there for
// whoever would otherwise have to make a new one.
// Locks   HeapRegistry -> PageRuns. A fork() holds both, so that the child finds them whole.
// Tests: tests/mem/threads_test.cc, tests/mem/fork_test.cc.
#pragma once

#include <atomic>
#include <cstddef>

#include "kernel/spinlock.h"
#include "mem/local_heap.h"

namespace weft::mem {

class HeapRegistry {
 public:
  // A heap for a thread, owned. nullptr: no memory.
  LocalHeap* attach() noexcept;
  // The thread ends.
  void detach(LocalHeap& heap) noexcept;
  // The same for a mem::Heap: not owned, and never a thread's.
  LocalHeap* attach_private() noexcept;
  // It is empty.
  void detach_private(LocalHeap& heap) noexcept;
  // A slab with free blocks, of a heap without owner; it is listed in `to`. nullptr: there is none.
  Descriptor* adopt(unsigned size_class, LocalHeap& to) noexcept;

  // Around fork(2): locks are held from the first to one of the others. The child has one thread, which owns `mine`.
  void before_fork() noexcept;
  void after_fork_in_parent() noexcept;
  void after_fork_in_child(const LocalHeap* mine) noexcept;

  template <typename Visit>
  void each(const Visit& visit) noexcept {
    for (LocalHeap* heap = all_.load(std::memory_order_acquire); heap != nullptr; heap = heap->next_of_all)
      visit(*heap);
  }
  std::size_t idle_count() const noexcept { return idle_count_.load(std::memory_order_relaxed); }

 private:
  LocalHeap* make() noexcept;

  Spinlock lock_;
  std::atomic<LocalHeap*> all_{nullptr};
  LocalHeap* idle_ = nullptr;
  LocalHeap* spare_private_ = nullptr;
  std::atomic<std::size_t> idle_count_{0};
  // What is left of a unit cut into heaps.
  std::byte* spare_ = nullptr;
  std::size_t spare_bytes_ = 0;
};

extern constinit HeapRegistry heap_registry;

}  // namespace weft::mem
