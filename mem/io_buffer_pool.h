// mem/io_buffer_pool.h - buffers for I/O, of one size, from one area that a ring of io_uring can have registered.
//
// Aligned to 4 KiB, as O_DIRECT wants them. Of registered memory the kernel looks up the pages once and not with each request:
//
//   auto pool = IoBufferPool::create(64 << 10, 64);
//   const iovec area{.iov_base = pool->area().data(), .iov_len = pool->area().size()};
//   ring.register_buffers({&area, 1});                                    kernel/uring.h: each ring that shall use it
//   ring.prepare(uring::read_fixed(fd, pool->take(), 64 << 10, offset, 0));
//
// The kernel then holds every page of the area until the ring lets go of it, used or not, so an area is as large as what is in flight.
// Without registration pages come with the first use. The area counts as PageUse::kBuffers.
// take() and give() are thread- and fiber-safe and O(1); nothing parks. Tests: tests/mem/io_buffer_pool_test.cc.
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "kernel/spinlock.h"

namespace weft::mem {

class [[gnu::visibility("default")]] IoBufferPool {
 public:
  // `buffer_bytes` is rounded up to whole pages. std::nullopt: no memory, or nothing was asked for.
  static std::optional<IoBufferPool> create(std::size_t buffer_bytes, std::size_t count) noexcept;
  // All buffers are back, and no ring has the area.
  ~IoBufferPool();
  // Nobody else may use it meanwhile.
  IoBufferPool(IoBufferPool&& other) noexcept;
  IoBufferPool& operator=(IoBufferPool&& other) = delete;

  // The one that came back last, contents undefined. nullptr: all are out.
  std::byte* take() noexcept;
  void give(std::byte* buffer) noexcept;

  std::size_t buffer_bytes() const noexcept { return buffer_bytes_; }
  std::span<std::byte> area() const noexcept { return area_; }
  bool holds(const void* address) const noexcept {
    return address >= area_.data() && address < area_.data() + area_.size();
  }

 private:
  struct Free {
    Free* next;
  };
  IoBufferPool(std::span<std::byte> area, std::size_t buffer_bytes) noexcept
      : area_(area), buffer_bytes_(buffer_bytes) {}

  std::span<std::byte> area_;
  std::size_t buffer_bytes_;
  Spinlock lock_;  // guards all below
  Free* free_ = nullptr;
  std::size_t fresh_ = 0;  // of the area, from its start: bytes that were given out at least once
  std::size_t out_ = 0;
};

}  // namespace weft::mem
