// sched/injector.h - ready fibers that come from outside a worker: plain threads, other runtimes, overflow. Internal.
//
// An intrusive list under a spinlock, first in first out. Thread-safe. Never parks, never allocates.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>

#include "kernel/spinlock.h"
#include "sched/fiber.h"

namespace weft::sched {

class Injector {
 public:
  void push(FiberState* fiber) noexcept {
    fiber->queue_next = nullptr;
    push_all(fiber, fiber, 1);
  }
  // Linked by queue_next from `first` to `last`.
  void push_all(FiberState* first, FiberState* last, std::uint64_t count) noexcept {
    const std::lock_guard guard(lock_);
    (tail_ != nullptr ? tail_->queue_next : head_) = first;
    tail_ = last;
    size_.store(size_.load(std::memory_order_relaxed) + count, std::memory_order_release);
  }
  FiberState* pop() noexcept { return pop_some(1); }
  // At most so many, linked by queue_next. Null: none.
  FiberState* pop_some(std::uint64_t limit) noexcept {
    if (empty()) return nullptr;
    const std::lock_guard guard(lock_);
    FiberState* first = head_;
    if (first == nullptr) return nullptr;
    FiberState* last = first;
    std::uint64_t count = 1;
    for (; count < limit && last->queue_next != nullptr; ++count) last = last->queue_next;
    head_ = std::exchange(last->queue_next, nullptr);
    if (head_ == nullptr) tail_ = nullptr;
    size_.store(size_.load(std::memory_order_relaxed) - count, std::memory_order_release);
    return first;
  }
  [[nodiscard]] bool empty() const noexcept { return size_.load(std::memory_order_acquire) == 0; }

 private:
  Spinlock lock_;  // guards the list and changes of size_
  FiberState* head_ = nullptr;
  FiberState* tail_ = nullptr;
  std::atomic<std::uint64_t> size_{0};
};

}  // namespace weft::sched
