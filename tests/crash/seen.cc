#include "tests/crash/seen.h"

#include <sys/mman.h>

#include "kernel/check.h"

namespace weft::crash {

void* shared_memory(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  WEFT_CHECK(memory != MAP_FAILED);
  return memory;
}

Seen::Seen(std::size_t slots)
    : slots_(slots),
      mapped_bytes_((slots + 8) * sizeof(std::atomic<std::uint64_t>)),
      count_(static_cast<std::atomic<std::uint64_t>*>(shared_memory(mapped_bytes_))),
      table_(count_ + 8) {
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
}

Seen::~Seen() { munmap(count_, mapped_bytes_); }

bool Seen::insert(std::uint64_t hash) noexcept {
  if (hash == 0) hash = 1;  // 0 is an empty slot
  if (full()) return false;
  for (std::size_t at = hash;; ++at) {
    std::atomic<std::uint64_t>& slot = table_[at & (slots_ - 1)];
    std::uint64_t there = slot.load(std::memory_order_relaxed);
    if (there == 0 && slot.compare_exchange_strong(there, hash, std::memory_order_relaxed)) {
      count_->fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    if (there == hash) return false;
  }
}

}  // namespace weft::crash
