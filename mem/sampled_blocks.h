// mem/sampled_blocks.h - what is known of blocks that were sampled, and of the stacks that allocated them. Internal.
//
// A sample is found by its block's address; equal stacks are one Stack, which is never forgotten, so numbers of a stack may be read at
// any time. Memory comes in units from PageRuns and counts as the heap's own.
// Locks    one for all, before that of PageRuns; a fork() holds it
// Tests: tests/mem/sampled_blocks_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/spinlock.h"
#include "mem/counter.h"
#include "mem/page_runs.h"

namespace weft::mem {

class LocalHeap;

struct Stack {
  // Sampled blocks and their bytes, as they were counted: not scaled to what they stand for.
  Counter live_blocks;
  Counter live_bytes;
  Counter all_blocks;
  Counter all_bytes;
  const Stack* next = nullptr;  // with the same hash
  std::size_t depth = 0;

  std::span<void* const> frames() const noexcept { return {reinterpret_cast<void* const*>(this + 1), depth}; }
};

struct Sample {
  void* block = nullptr;
  std::size_t bytes = 0;
  Stack* allocated_by = nullptr;
  Stack* freed_by = nullptr;  // of one that is not live, where that was traced
  bool live = false;
  Sample* next = nullptr;  // with the same hash, or unused
  // Of a slot in a thread's list (sampling.h).
  LocalHeap* owner = nullptr;
  std::uint32_t uses = 0;
  Sample* below = nullptr;
  void* rest = nullptr;
};

class SampledBlocks {
 public:
  // One without a block; nullptr: no memory.
  Sample* make() noexcept;
  // One that is in no table.
  void drop(Sample& sample) noexcept;

  // Its block and bytes are known; it is in the program's hands from now on. False: no memory, and it is not in the table.
  bool add(Sample& sample, std::span<void* const> stack) noexcept;
  // The live sample of that block, which is live no longer but stays in the table. nullptr: there is none.
  Sample* free(const void* block, std::span<void* const> stack = {}) noexcept;
  // Out of the table; the sample is as from make().
  void remove(Sample& sample) noexcept;
  // Copies what is known of that block, live or not. False: nothing, or somebody else has the lock for long.
  bool look_up(const void* block, Sample& into) noexcept;
  bool is_live(const void* block) noexcept;

  // Any memory of the heap's own, for good. nullptr: none.
  void* take_memory(std::size_t bytes) noexcept;

  template <typename Visit>
  void each_stack(const Visit& visit) const noexcept {
    for (const std::atomic<Stack*>& head : stacks_) {
      for (const Stack* stack = head.load(std::memory_order_acquire); stack != nullptr; stack = stack->next)
        visit(*stack);
    }
  }

  Spinlock& lock() noexcept { return lock_; }

 private:
  static constexpr std::size_t kStackBuckets = 4096;
  // Programs that make stacks without end (recursion over data) share the last one.
  static constexpr std::size_t kMostStacks = 65536;

  void* take_locked(std::size_t bytes) noexcept;
  Stack* intern(std::span<void* const> frames) noexcept;
  Sample** place_of(const void* block) noexcept;
  bool make_room() noexcept;

  Spinlock lock_;
  std::byte* spare_ = nullptr;
  std::size_t spare_bytes_ = 0;
  Sample* unused_ = nullptr;
  Sample** buckets_ = nullptr;
  Descriptor* buckets_run_ = nullptr;
  std::size_t bucket_count_ = 0;
  std::size_t count_ = 0;
  std::size_t stack_count_ = 0;
  std::array<std::atomic<Stack*>, kStackBuckets> stacks_{};
};

extern constinit SampledBlocks sampled_blocks;

}  // namespace weft::mem
