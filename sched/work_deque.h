// sched/work_deque.h - a deque of one owner, who works at its bottom, and of thieves, who take from its top. Internal.
//
//   owner: push, pop at the bottom  [ oldest ... newest ]  thieves, and the owner who wants the oldest: steal at the top
//
// Chase and Lev, "Dynamic Circular Work-Stealing Deque" (SPAA 2005), with the memory orders of Le, Pop, Cohen and Zappa Nardelli,
// "Correct and Efficient Work-Stealing for Weak Memory Models" (PPoPP 2013), and a grown buffer published with release. Old buffers
// stay until the deque ends, since a thief may be reading one; together they are smaller than the last.
//
// Invariants   D1  top_ only grows; whoever raises it has what was there
//              D2  entries in [top_, bottom_) are in the deque; only the owner writes entries and bottom_
// push() may allocate. Never parks. Tests: tests/sched/work_deque_test.cc; in every
// interleaving, with late and reordered stores: deque_model_test.cc.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace weft::sched {

template <typename T>
class WorkDeque {
 public:
  explicit WorkDeque(std::size_t capacity = 64) : buffer_(new Buffer(capacity, nullptr)) {}
  ~WorkDeque() {
    for (Buffer* buffer = buffer_.load(std::memory_order_relaxed); buffer != nullptr;) {
      const std::unique_ptr<Buffer> old(buffer);
      buffer = old->previous;
    }
  }
  WorkDeque(const WorkDeque&) = delete;
  WorkDeque& operator=(const WorkDeque&) = delete;

  // Owner only.
  void push(T* item) {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);
    Buffer* buffer = buffer_.load(std::memory_order_relaxed);
    if (bottom - known_top_ >= buffer->size()) [[unlikely]]
      buffer = make_room(bottom);
    buffer->at(bottom).store(item, std::memory_order_relaxed);
    bottom_.store(bottom + 1, std::memory_order_release);
  }

  // Owner only: the newest. Null: empty.
  T* pop() noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;
    bottom_.store(bottom, std::memory_order_relaxed);
    // Thieves look at bottom_ after they looked at top_, we the other way round: one of us sees the other.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::int64_t top = top_.load(std::memory_order_relaxed);
    if (top > bottom) {
      bottom_.store(bottom + 1, std::memory_order_relaxed);
      return nullptr;
    }
    T* item = buffer_.load(std::memory_order_relaxed)->at(bottom).load(std::memory_order_relaxed);
    if (top == bottom) {  // the last one: a thief may be about to have it
      if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
        item = nullptr;
      bottom_.store(bottom + 1, std::memory_order_relaxed);
    }
    return item;
  }

  // Owner only: the newest, which stays. Null: there seems to be none.
  [[nodiscard]] T* newest() const noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);
    if (bottom == top_.load(std::memory_order_relaxed)) return nullptr;
    return buffer_.load(std::memory_order_relaxed)->at(bottom - 1).load(std::memory_order_relaxed);
  }

  // Owner only, where items are hints and do no harm when they stay: takes the newest out if that can be done without a fence of
  // its own. `fence` is called once and has the effect of one, or returns false to leave all as it is.
  template <typename Fence>
  bool forget_newest(Fence&& fence) noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;
    bottom_.store(bottom, std::memory_order_relaxed);
    const bool done = fence();
    // At the last one a thief may be, so it stays.
    if (!done || top_.load(std::memory_order_relaxed) >= bottom) bottom_.store(bottom + 1, std::memory_order_relaxed);
    return done;
  }

  // Owner only, where items are hints: takes the oldest ones out as long as they are `stale`, at most so many, by one swap.
  template <typename Stale>
  void drop_oldest(std::int64_t most, Stale&& stale) noexcept {
    std::int64_t top = top_.load(std::memory_order_acquire);
    const std::int64_t end = std::min(bottom_.load(std::memory_order_relaxed), top + most);
    Buffer* buffer = buffer_.load(std::memory_order_relaxed);
    std::int64_t kept = top;
    while (kept < end && stale(*buffer->at(kept).load(std::memory_order_relaxed))) ++kept;
    // If a thief was quicker, they are left to the next time.
    if (kept > top) top_.compare_exchange_strong(top, kept, std::memory_order_seq_cst, std::memory_order_relaxed);
  }

  // Owner only: the one that is `nth` from the oldest on, which stays. Null: there are not so many.
  [[nodiscard]] T* peek(std::int64_t nth) const noexcept {
    const std::int64_t at = top_.load(std::memory_order_relaxed) + nth;
    if (at >= bottom_.load(std::memory_order_relaxed)) return nullptr;
    return buffer_.load(std::memory_order_relaxed)->at(at).load(std::memory_order_relaxed);
  }

  // Any thread: the oldest. Null: there is none, or somebody else just took it.
  T* steal() noexcept {
    std::int64_t top = top_.load(std::memory_order_acquire);
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const std::int64_t bottom = bottom_.load(std::memory_order_acquire);
    if (top >= bottom) return nullptr;
    T* item = buffer_.load(std::memory_order_acquire)->at(top).load(std::memory_order_relaxed);
    if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
      return nullptr;
    return item;
  }

  // A guess, from any thread.
  [[nodiscard]] std::size_t size() const noexcept {
    const std::int64_t there = bottom_.load(std::memory_order_relaxed) - top_.load(std::memory_order_relaxed);
    return there > 0 ? static_cast<std::size_t>(there) : 0;
  }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }

 private:
  struct Buffer {
    Buffer(std::size_t capacity, Buffer* before)
        : mask(static_cast<std::int64_t>(capacity) - 1), slots(new std::atomic<T*>[capacity]), previous(before) {}
    [[nodiscard]] std::int64_t size() const noexcept { return mask + 1; }
    std::atomic<T*>& at(std::int64_t index) noexcept { return slots[static_cast<std::size_t>(index & mask)]; }

    const std::int64_t mask;  // capacity, a power of two, less one
    const std::unique_ptr<std::atomic<T*>[]> slots;
    Buffer* const previous;
  };

  // What is known of top_ lags behind, since it is the thieves' cache line.
  Buffer* make_room(std::int64_t bottom) {
    known_top_ = top_.load(std::memory_order_acquire);
    Buffer* old = buffer_.load(std::memory_order_relaxed);
    if (bottom - known_top_ < old->size()) return old;
    auto* grown = new Buffer(static_cast<std::size_t>(old->size()) * 2, old);
    for (std::int64_t i = known_top_; i < bottom; ++i)
      grown->at(i).store(old->at(i).load(std::memory_order_relaxed), std::memory_order_relaxed);
    buffer_.store(grown, std::memory_order_release);
    return grown;
  }

  alignas(64) std::atomic<std::int64_t> top_{0};
  alignas(64) std::atomic<std::int64_t> bottom_{0};
  std::int64_t known_top_ = 0;  // the owner's
  std::atomic<Buffer*> buffer_;
};

}  // namespace weft::sched
