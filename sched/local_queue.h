// sched/local_queue.h - a worker's own queue of ready fibers, from which idle workers steal. Internal to sched/.
//
// A bounded ring, first in first out: one owner pushes at the tail, everybody takes from the head by compare-and-swap; a thief
// copies half and takes it in one swap. First-in-first-out is what keeps woken fibers' latency bounded; the scheme is the run
// queue of Go's scheduler (runtime/proc.go) and Tokio's. Positions only grow, so a stale copy never passes the swap.
//
// Invariants   Q1  tail_ - head_ <= kCapacity
//              Q2  only the owner writes slots and tail_
// Never parks, never allocates. Tests: tests/sched/local_queue_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace weft::sched {

template <typename T, std::uint32_t kCapacity = 256>
class LocalQueue {
  static_assert((kCapacity & (kCapacity - 1)) == 0);

 public:
  // Owner only. False: full.
  bool push(T* item) noexcept {
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head >= kCapacity) return false;
    slots_[tail % kCapacity].store(item, std::memory_order_relaxed);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  // Owner only. Null: empty.
  T* pop() noexcept {
    std::uint32_t head = head_.load(std::memory_order_acquire);
    const std::uint32_t tail = tail_.load(std::memory_order_relaxed);
    while (head != tail) {
      T* item = slots_[head % kCapacity].load(std::memory_order_relaxed);
      if (head_.compare_exchange_weak(head, head + 1, std::memory_order_acq_rel, std::memory_order_acquire))
        return item;
    }
    return nullptr;
  }

  // Owner only, where nobody steals.
  T* pop_alone() noexcept {
    const std::uint32_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_relaxed)) return nullptr;
    T* item = slots_[head % kCapacity].load(std::memory_order_relaxed);
    head_.store(head + 1, std::memory_order_relaxed);
    return item;
  }

  // Owner only: the one that is `nth` from the oldest on now, or null. Only a hint: it may be anybody's already.
  [[nodiscard]] T* peek(std::uint32_t nth) const noexcept {
    const std::uint32_t at = head_.load(std::memory_order_relaxed) + nth;
    const auto left = static_cast<std::int32_t>(tail_.load(std::memory_order_relaxed) - at);
    return left > 0 ? slots_[at % kCapacity].load(std::memory_order_relaxed) : nullptr;
  }

  // Owner only: hands the older half, rounded up, to `take(T*)`, oldest first.
  template <typename Take>
  void shed_half(Take&& take) noexcept {
    std::uint32_t head = head_.load(std::memory_order_acquire);
    std::uint32_t count = 0;
    do {
      const std::uint32_t there = tail_.load(std::memory_order_relaxed) - head;
      count = there - there / 2;
    } while (!head_.compare_exchange_weak(head, head + count, std::memory_order_acq_rel, std::memory_order_acquire));
    // They stay in their slots until the owner pushes again.
    for (std::uint32_t i = 0; i < count; ++i) take(slots_[(head + i) % kCapacity].load(std::memory_order_relaxed));
  }

  // By the owner of `into`, which is empty: moves half of this queue, rounded up, there and returns the first of it.
  // Null: nothing to steal.
  T* steal_half(LocalQueue& into) noexcept {
    std::uint32_t head = head_.load(std::memory_order_acquire);
    for (;;) {
      const std::uint32_t tail = tail_.load(std::memory_order_acquire);
      const std::uint32_t there = tail - head;
      if (there == 0) return nullptr;
      if (there > kCapacity) {  // head moved between the two loads
        head = head_.load(std::memory_order_acquire);
        continue;
      }
      const std::uint32_t count = there - there / 2;
      T* first = slots_[head % kCapacity].load(std::memory_order_relaxed);
      const std::uint32_t to = into.tail_.load(std::memory_order_relaxed);
      for (std::uint32_t i = 1; i < count; ++i) {
        into.slots_[(to + i - 1) % kCapacity].store(slots_[(head + i) % kCapacity].load(std::memory_order_relaxed),
                                                    std::memory_order_relaxed);
      }
      if (!head_.compare_exchange_strong(head, head + count, std::memory_order_acq_rel, std::memory_order_acquire))
        continue;
      if (count > 1) into.tail_.store(to + count - 1, std::memory_order_release);
      return first;
    }
  }

  // A guess, from any thread.
  [[nodiscard]] std::uint32_t size() const noexcept {
    const std::uint32_t head = head_.load(std::memory_order_acquire);
    const std::uint32_t tail = tail_.load(std::memory_order_acquire);
    const std::uint32_t there = tail - head;
    return there > kCapacity ? 1 : there;
  }

 private:
  alignas(64) std::atomic<std::uint32_t> head_{0};
  alignas(64) std::atomic<std::uint32_t> tail_{0};
  std::array<std::atomic<T*>, kCapacity> slots_{};
};

}  // namespace weft::sched
