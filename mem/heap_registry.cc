// mem/heap_registry.cc - see heap_registry.h.
#include "mem/heap_registry.h"

#include <mutex>
#include <new>

#include "mem/page_runs.h"

namespace weft::mem {

constinit HeapRegistry heap_registry;

namespace {
// A program with one thread touches no page for it.
constinit LocalHeap first_heap;
}  // namespace

LocalHeap* HeapRegistry::make() noexcept {
  LocalHeap* heap = nullptr;
  if (all_.load(std::memory_order_relaxed) == nullptr) {
    heap = &first_heap;
  } else {
    if (spare_bytes_ < sizeof(LocalHeap)) {
      Descriptor* unit = page_runs.allocate(1, Kind::kOwn).first;
      if (unit == nullptr) return nullptr;
      spare_ = start_of(*unit);
      spare_bytes_ = kUnitBytes;
    }
    heap = ::new (spare_) LocalHeap;
    spare_ += sizeof(LocalHeap);
    spare_bytes_ -= sizeof(LocalHeap);
  }
  heap->try_own(HeapState::kOwned);
  heap->next_of_all = all_.load(std::memory_order_relaxed);
  all_.store(heap, std::memory_order_release);
  return heap;
}

LocalHeap* HeapRegistry::attach() noexcept {
  const std::scoped_lock guard(lock_);
  for (LocalHeap** at = &idle_; *at != nullptr; at = &(*at)->next_idle) {
    LocalHeap* heap = *at;
    // Somebody may be processing it just now.
    if (!heap->try_own(HeapState::kOwned)) continue;
    *at = heap->next_idle;
    idle_count_.fetch_sub(1, std::memory_order_relaxed);
    return heap;
  }
  return make();
}

void HeapRegistry::detach(LocalHeap& heap) noexcept {
  heap.abandon();
  const std::scoped_lock guard(lock_);
  heap.next_idle = idle_;
  idle_ = &heap;
  idle_count_.fetch_add(1, std::memory_order_relaxed);
}

LocalHeap* HeapRegistry::attach_private() noexcept {
  const std::scoped_lock guard(lock_);
  if (LocalHeap* heap = spare_private_; heap != nullptr) {
    spare_private_ = heap->next_idle;
    return heap;
  }
  LocalHeap* heap = make();
  if (heap == nullptr) return nullptr;
  heap->make_private();
  heap->let_go();
  return heap;
}

void HeapRegistry::detach_private(LocalHeap& heap) noexcept {
  const std::scoped_lock guard(lock_);
  heap.next_idle = spare_private_;
  spare_private_ = &heap;
}

Descriptor* HeapRegistry::adopt(unsigned size_class, LocalHeap& to) noexcept {
  if (idle_count() == 0) [[likely]]
    return nullptr;
  const std::scoped_lock guard(lock_);
  Descriptor* slab = nullptr;
  int left = 4;
  for (LocalHeap* heap = idle_; heap != nullptr && slab == nullptr && left > 0; heap = heap->next_idle, --left) {
    if (!heap->try_own(HeapState::kHeld)) continue;
    slab = heap->give(size_class, to);
    heap->let_go();
  }
  return slab;
}

void HeapRegistry::before_fork() noexcept {
  lock_.lock();
  page_runs.lock().lock();
}

void HeapRegistry::after_fork_in_parent() noexcept {
  page_runs.lock().unlock();
  lock_.unlock();
}

void HeapRegistry::after_fork_in_child(const LocalHeap* mine) noexcept {
  page_runs.lock().unlock();
  idle_ = nullptr;
  std::size_t count = 0;
  each([&](LocalHeap& heap) {
    if (&heap == mine || !heap.inherit_after_fork() || heap.is_private()) return;
    heap.next_idle = idle_;
    idle_ = &heap;
    ++count;
  });
  idle_count_.store(count, std::memory_order_relaxed);
  lock_.unlock();
  // Lists of theirs become free blocks of their slabs, which all may use.
  for (LocalHeap* heap = idle_; heap != nullptr; heap = heap->next_idle) {
    if (heap->state() == HeapState::kHeld) heap->abandon();
  }
}

}  // namespace weft::mem
