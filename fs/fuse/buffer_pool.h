// fs/fuse/buffer_pool.h - page-aligned memory for the data of requests and answers, kept warm and bounded.
//
// Sizes come in powers of two from 4 KiB to 2 MiB; the largest are huge pages where the system has them to give. What is
// given back is kept up to a bound of bytes, most recently used first, since touching a fresh page costs microseconds;
// beyond the bound it goes back to the system.
//
// Locks: one spinlock, held for a few instructions. Nothing parks. Thread- and fiber-safe.
// Tests: tests/fs/fuse/buffer_pool_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <span>
#include <utility>

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

  explicit BufferPool(std::size_t keep_bytes = 32 << 20) : keep_bytes_(keep_bytes) {}
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // At least `bytes` long, contents undefined; empty where memory is short or `bytes` is beyond kLargestBytes.
  Buffer take(std::size_t bytes);
  [[nodiscard]] std::size_t kept_bytes() const noexcept { return kept_bytes_.load(std::memory_order_relaxed); }

 private:
  friend class Buffer;
  struct Free {
    Free* next;
  };
  void give_back(std::span<std::byte> bytes) noexcept;
  void lock() noexcept;
  void unlock() noexcept { locked_.store(false, std::memory_order_release); }

  static constexpr std::size_t kClasses = 10;  // 4 KiB ... 2 MiB
  const std::size_t keep_bytes_;
  std::atomic<bool> locked_{false};
  std::array<Free*, kClasses> free_{};      // guarded by locked_
  std::atomic<std::size_t> kept_bytes_{0};  // written under locked_
};

}  // namespace weft::fs::fuse
