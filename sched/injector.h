// sched/injector.h - ready fibers that come from outside a worker: plain threads, other runtimes, overflow. Internal.
//
// An intrusive list under a spinlock, first in first out. Thread-safe. Never parks, never allocates.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>

#include "kernel/spinlock.h"
#include "sched/fiber.h"

namespace weft::sched {

class Injector {
 public:
  void push(FiberState* fiber) noexcept {
    const std::lock_guard guard(lock_);
    fiber->queue_next = nullptr;
    (tail_ != nullptr ? tail_->queue_next : head_) = fiber;
    tail_ = fiber;
    size_.store(size_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }
  FiberState* pop() noexcept {
    if (empty()) return nullptr;
    const std::lock_guard guard(lock_);
    FiberState* fiber = head_;
    if (fiber == nullptr) return nullptr;
    head_ = fiber->queue_next;
    if (head_ == nullptr) tail_ = nullptr;
    size_.store(size_.load(std::memory_order_relaxed) - 1, std::memory_order_release);
    return fiber;
  }
  [[nodiscard]] bool empty() const noexcept { return size_.load(std::memory_order_acquire) == 0; }

 private:
  Spinlock lock_;  // guards the list and changes of size_
  FiberState* head_ = nullptr;
  FiberState* tail_ = nullptr;
  std::atomic<std::uint64_t> size_{0};
};

}  // namespace weft::sched
