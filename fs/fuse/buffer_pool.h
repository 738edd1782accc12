// fs/fuse/buffer_pool.h - page-aligned memory for the data of requests and answers, kept warm and bounded.
//
// Sizes come in powers of two from 4 KiB to 2 MiB; the largest are huge pages where the system has them to give. What is
// given back is kept up to a bound of bytes, most recently used first, since touching a fresh page costs microseconds;
// beyond the bound it goes back to the system. Large buffers together stay within the same bound: who wants one more waits
// until another is given back. Small ones are not counted: there are never more of them than requests under way, and those
// that have to go on for others to end make do with them.
//
// Invariants  B1  large_bytes_ <= bound_bytes_, but for a single buffer that is larger than that
//             B2  kept_bytes_ + large_bytes_ <= bound_bytes_ likewise: what is kept in one size makes room for another
// Locks       one spinlock, held for a few instructions; wait_lock_ where somebody waits
// Parks       take() of a large one
// Thread- and fiber-safe. Tests: tests/fs/fuse/buffer_pool_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <span>
#include <utility>

#include "sched/condition_variable.h"
#include "sched/mutex.h"

namespace weft::fs::fuse {

class BufferPool;

// Owns a buffer; gives it back to its pool, which must outlive it.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Buffer();
  [[nodiscard]] std::span<std::byte> bytes() const noexcept { return bytes_; }
  explicit operator bool() const noexcept { return !bytes_.empty(); }

 private:
  friend class BufferPool;
  Buffer(BufferPool* pool, std::span<std::byte> bytes) : pool_(pool), bytes_(bytes) {}
  BufferPool* pool_ = nullptr;
  std::span<std::byte> bytes_;
};

class BufferPool {
 public:
  static constexpr std::size_t kSmallestBytes = 4096;
  static constexpr std::size_t kLargestBytes = 2 << 20;
  static constexpr std::size_t kSmallBytes = 8192;  // and less

  explicit BufferPool(std::size_t bound_bytes = 32 << 20) : bound_bytes_(bound_bytes) {}
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // At least `bytes` long, contents undefined; empty where memory is short or `bytes` is beyond kLargestBytes.
  Buffer take(std::size_t bytes);
  [[nodiscard]] std::size_t kept_bytes() const noexcept { return kept_bytes_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t large_bytes() const noexcept { return large_bytes_.load(); }  // of large ones that are out

 private:
  friend class Buffer;
  struct Free {
    Free* next;
  };
  void give_back(std::span<std::byte> bytes) noexcept;
  bool claim(std::size_t bytes) noexcept;
  void unclaim(std::size_t bytes) noexcept;
  Free* take_surplus() noexcept;
  void lock() noexcept;
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }

  static constexpr std::size_t kClasses = 10;  // 4 KiB ... 2 MiB
  const std::size_t bound_bytes_;
  std::atomic<bool> locked_{false};
  std::array<Free*, kClasses> free_{};      // guarded by locked_
  std::atomic<std::size_t> kept_bytes_{0};  // written under locked_
  std::atomic<std::size_t> large_bytes_{0};
  std::atomic<unsigned> waiting_{0};
  sched::Mutex wait_lock_;
  sched::ConditionVariable given_back_;  // with wait_lock_
};

}  // namespace weft::fs::fuse
