#include "fs/fuse/buffer_pool.h"

#include <sched.h>
#include <sys/mman.h>

#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>

namespace weft::fs::fuse {

Buffer::~Buffer() {
  if (!bytes_.empty()) pool_->give_back(bytes_);
}

BufferPool::~BufferPool() {
  for (Free* each : free_) {
    while (each != nullptr) std::free(std::exchange(each, each->next));
  }
}

void BufferPool::lock() noexcept {
  for (unsigned spins = 0; locked_.exchange(true, std::memory_order_acquire); ++spins) {
    if (spins > 100) sched_yield();
  }
}

namespace {

std::size_t class_of(std::size_t bytes) {
  return static_cast<std::size_t>(std::countr_zero(std::bit_ceil(bytes) / BufferPool::kSmallestBytes));
}

}  // namespace

Buffer BufferPool::take(std::size_t bytes) {
  if (bytes > kLargestBytes) return {};
  if (bytes < kSmallestBytes) bytes = kSmallestBytes;
  const std::size_t size_class = class_of(bytes);
  const std::size_t size = kSmallestBytes << size_class;
  if (size > kSmallBytes && !claim(size)) {
    std::unique_lock guard(wait_lock_);
    ++waiting_;
    given_back_.wait(guard, [&] { return claim(size); });
    --waiting_;
  }
  lock();
  Free* found = free_[size_class];
  if (found != nullptr) {
    free_[size_class] = found->next;
    kept_bytes_.store(kept_bytes() - size, std::memory_order_relaxed);
  }
  Free* surplus = take_surplus();
  unlock();
  while (surplus != nullptr) std::free(std::exchange(surplus, surplus->next));
  void* memory = found;
  if (memory == nullptr) {
    memory = std::aligned_alloc(size == kLargestBytes ? kLargestBytes : kSmallestBytes, size);
    if (memory == nullptr) {
      unclaim(size);
      return {};
    }
    // In one piece for the device, too: 256 scattered pages are more segments than a request to a disk may have.
    if (size == kLargestBytes) ::madvise(memory, size, MADV_HUGEPAGE);
  }
  return Buffer(this, {static_cast<std::byte*>(memory), size});
}

// Kept buffers that are too many beside those that are out, largest first. With locked_.
BufferPool::Free* BufferPool::take_surplus() noexcept {
  Free* surplus = nullptr;
  for (std::size_t size_class = kClasses; size_class-- > 0;) {
    while (free_[size_class] != nullptr && kept_bytes() + large_bytes() > bound_bytes_) {
      Free* const one = std::exchange(free_[size_class], free_[size_class]->next);
      one->next = std::exchange(surplus, one);
      kept_bytes_.store(kept_bytes() - (kSmallestBytes << size_class), std::memory_order_relaxed);
    }
  }
  return surplus;
}

bool BufferPool::claim(std::size_t bytes) noexcept {
  std::size_t out = large_bytes_.load();
  do {
    if (out != 0 && out + bytes > bound_bytes_) return false;
  } while (!large_bytes_.compare_exchange_weak(out, out + bytes));
  return true;
}

void BufferPool::unclaim(std::size_t bytes) noexcept {
  if (bytes <= kSmallBytes) return;
  large_bytes_.fetch_sub(bytes);
  if (waiting_.load() == 0) return;
  const std::lock_guard guard(wait_lock_);
  given_back_.notify_all();
}

void BufferPool::give_back(std::span<std::byte> bytes) noexcept {
  unclaim(bytes.size());
  lock();
  const bool keep = kept_bytes() + large_bytes() + bytes.size() <= bound_bytes_;
  if (keep) {
    free_[class_of(bytes.size())] = new (bytes.data()) Free{free_[class_of(bytes.size())]};
    kept_bytes_.store(kept_bytes() + bytes.size(), std::memory_order_relaxed);
  }
  unlock();
  if (!keep) std::free(bytes.data());
}

}  // namespace weft::fs::fuse
