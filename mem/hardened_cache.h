// mem/hardened_cache.h - what a thread has of free blocks in hardened mode: a queue a class. Internal.
//
// A freed block joins the end of its class's queue and malloc takes the first, but never one of the last few (`kept`): so whoever
// frees a block and asks for one does not get it back, and the queue is the quarantine. When there are no others, a batch comes
// from HardenedSlabs, whose order is random, and goes before those that wait; when there are too many, the oldest go back.
// A block goes through here whoever made it: threads meet only in HardenedSlabs.
// Locks   none; a cache is its thread's. The list of caches without a thread has one.
// Tests: tests/mem/hardened_test.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "mem/hardened_slabs.h"
#include "mem/size_class.h"

namespace weft::mem {

class HardenedCache {
 public:
  // One that is always empty, and takes nothing.
  constexpr HardenedCache() noexcept : slots_{} {}
  // One for use.
  explicit HardenedCache(unsigned shard) noexcept;
  HardenedCache(const HardenedCache&) = delete;
  HardenedCache& operator=(const HardenedCache&) = delete;

  // False: refill().
  [[gnu::always_inline]] bool pop(unsigned size_class, FreeBlock& block) noexcept {
    Queue& queue = queues_[size_class];
    if (queue.count() <= queue.kept) [[unlikely]]
      return false;
    block = slots_[size_class][queue.first++ % kSlots];
    return true;
  }
  // False: it is full, make_room().
  [[gnu::always_inline]] bool push(unsigned size_class, FreeBlock block) noexcept {
    Queue& queue = queues_[size_class];
    if (queue.count() >= queue.most) [[unlikely]]
      return false;
    slots_[size_class][queue.end++ % kSlots] = block;
    return true;
  }

  // A block from the slabs, and others for the next calls. False: no memory.
  bool refill(unsigned size_class, FreeBlock& block) noexcept;
  void make_room(unsigned size_class) noexcept;
  // All of it goes back.
  void flush() noexcept;

  HardenedCache* next_spare = nullptr;

 private:
  unsigned shard_ = 0;

  static constexpr std::uint32_t kSlots = 128;
  struct Queue {
    std::uint32_t first = 0;  // both count on, past the end of the slots
    std::uint32_t end = 0;
    std::uint16_t kept = 0;
    std::uint16_t batch = 0;
    std::uint16_t most = 0;
    std::uint32_t count() const noexcept { return end - first; }
  };
  static_assert(sizeof(Queue) == 16);

  void give_back(unsigned size_class, std::size_t count) noexcept;

  std::array<Queue, kClasses> queues_{};
  std::array<std::array<FreeBlock, kSlots>, kClasses> slots_;  // of a new one not touched
};

extern constinit HardenedCache no_cache;
extern constinit thread_local HardenedCache* current_cache;

// The thread's, made if need be; nullptr: no memory.
HardenedCache* attach_cache() noexcept;

void cache_before_fork() noexcept;
void cache_after_fork() noexcept;

}  // namespace weft::mem
