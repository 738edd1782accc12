// mem/io_buffer_pool.cc - see io_buffer_pool.h.
#include "mem/io_buffer_pool.h"

#include <mutex>
#include <new>
#include <utility>

#include "mem/fatal.h"
#include "mem/pages.h"
#include "mem/size_class.h"

namespace weft::mem {

std::optional<IoBufferPool> IoBufferPool::create(std::size_t buffer_bytes, std::size_t count) noexcept {
  std::size_t bytes = 0;
  const std::size_t rounded = (buffer_bytes + kPageBytes - 1) & ~(kPageBytes - 1);
  if (rounded == 0 || count == 0 || __builtin_mul_overflow(rounded, count, &bytes)) return std::nullopt;
  void* pages = take_pages(bytes, PageUse::kBuffers);
  if (pages == nullptr) return std::nullopt;
  return IoBufferPool({static_cast<std::byte*>(pages), bytes}, rounded);
}

IoBufferPool::IoBufferPool(IoBufferPool&& other) noexcept
    : area_(std::exchange(other.area_, {})),
      buffer_bytes_(other.buffer_bytes_),
      free_(std::exchange(other.free_, nullptr)),
      fresh_(other.fresh_),
      out_(std::exchange(other.out_, 0)) {}

IoBufferPool::~IoBufferPool() {
  // A request may still write there.
  if (out_ != 0) fatal("a pool of I/O buffers ends before its buffers are back", area_.data());
  if (!area_.empty()) give_pages(area_.data());
}

std::byte* IoBufferPool::take() noexcept {
  const std::scoped_lock guard(lock_);
  std::byte* buffer = nullptr;
  if (free_ != nullptr) {
    buffer = reinterpret_cast<std::byte*>(std::exchange(free_, free_->next));
  } else if (fresh_ < area_.size()) {
    buffer = area_.data() + std::exchange(fresh_, fresh_ + buffer_bytes_);
  } else {
    return nullptr;
  }
  ++out_;
  return buffer;
}

void IoBufferPool::give(std::byte* buffer) noexcept {
  if (!holds(buffer) || static_cast<std::size_t>(buffer - area_.data()) % buffer_bytes_ != 0)
    fatal("this is no buffer of the pool it is given to", buffer);
  const std::scoped_lock guard(lock_);
  free_ = ::new (buffer) Free{free_};
  --out_;
}

}  // namespace weft::mem
