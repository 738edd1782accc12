// mem/hardened_slabs.h - where the threads of the hardened mode get blocks from and give them back to, many at a time. Internal.
//
//   hardened -> HardenedCache (of the thread) -> [HardenedSlabs] -> PageRuns
//
// Slabs belong to nobody: per shard and class they are linked while they have free blocks, and the lock for these is taken once for
// a batch. No byte of what is known of a block lies in the block, or near one: for each 16 bytes of the heap there is a state
// (Segment::states), which says at a block's start what it is, and is 0 at every other place. So free() sees with one load and no
// division whether an address is a block's start, and whether the block is in use.
// A slab ends with at least 16 bytes that are never given out and hold the canary: for whoever writes before the next slab.
// Locks   one for each shard and class, before that of PageRuns; a fork() holds all.
// Tests: tests/mem/hardened_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernel/spinlock.h"
#include "mem/canary.h"
#include "mem/descriptor.h"
#include "mem/segment.h"
#include "mem/size_class.h"

namespace weft::mem {

// What stands for a block. Odd: in use; then it is the slack, less 16, in seven bits, or, if that is not enough, in seven bits of
// each of the two states that follow. Those are even, so that no place but the start of a block in use has an odd state.
using BlockState = std::atomic<std::uint8_t>;
inline constexpr std::uint8_t kNoBlock = 0;
inline constexpr std::uint8_t kFreed = 2;   // in a thread's cache
inline constexpr std::uint8_t kInSlab = 4;  // free in its slab
inline constexpr std::uint8_t kLongSlack = 255;

inline BlockState& state_of(const Segment& segment, const void* block) noexcept {
  return segment.states[static_cast<std::size_t>(static_cast<const std::byte*>(block) - segment.base) / kMinAlign];
}

inline void set_state(BlockState& state, std::uint8_t to) noexcept { state.store(to, std::memory_order_relaxed); }
inline bool is_in_use(std::uint8_t state) noexcept { return (state & 1) != 0; }

[[gnu::always_inline]] inline void set_slack(BlockState& state, std::size_t slack) noexcept {
  const std::size_t more = slack - canary::kBytes;
  if (more < 127) [[likely]]
    return set_state(state, static_cast<std::uint8_t>(2 * more + 1));
  set_state(state, kLongSlack);
  set_state((&state)[1], static_cast<std::uint8_t>(more % 128 * 2));
  set_state((&state)[2], static_cast<std::uint8_t>(more / 128 * 2));
}
// `now`: what the state is.
[[gnu::always_inline]] inline std::size_t slack_of(const BlockState& state, std::uint8_t now) noexcept {
  if (now != kLongSlack) [[likely]]
    return canary::kBytes + now / 2;
  const auto part = [&](int i) noexcept { return std::size_t{(&state)[i].load(std::memory_order_relaxed)} / 2; };
  return canary::kBytes + part(1) + part(2) * 128;
}

// A free block, and the slack it has (canary.h).
class FreeBlock {
 public:
  FreeBlock() noexcept = default;
  FreeBlock(void* block, std::size_t slack) noexcept : word_(reinterpret_cast<std::uintptr_t>(block) | slack << 48) {}
  std::byte* start() const noexcept { return reinterpret_cast<std::byte*>(word_ << 16 >> 16); }
  std::size_t slack() const noexcept { return word_ >> 48; }

 private:
  std::uint64_t word_;
};

// Ends the process if somebody wrote to it or beside it.
[[noreturn]] [[gnu::cold]] void report_touched(const void* block, std::size_t bytes, std::size_t slack) noexcept;
[[gnu::always_inline]] inline void expect_untouched(const std::byte* block, std::size_t bytes,
                                                    std::size_t slack) noexcept {
  if (!canary::is_untouched(block, bytes, slack)) [[unlikely]]
    report_touched(block, bytes, slack);
}

class HardenedSlabs {
 public:
  // Threads with different shards do not get blocks of the same slab, and so not of the same lines of the cache.
  static constexpr unsigned kShards = 8;

  // Up to `count` free blocks, in an order that nobody knows, each kFreed. 0: no memory.
  std::size_t take(unsigned shard, unsigned size_class, FreeBlock* blocks, std::size_t count) noexcept;
  // kFreed blocks of that class, of whichever shard.
  void give(const FreeBlock* blocks, std::size_t count) noexcept;

  void before_fork() noexcept;
  void after_fork() noexcept;

 private:
  // Slabs of a class in a shard. A slab knows it by `slab.free`.
  struct alignas(64) Shelf {
    Spinlock lock;
    Descriptor* with_room = nullptr;
    std::uint64_t random = 0;
  };

  static Descriptor* make_slab(Shelf& shelf, unsigned size_class) noexcept;
  static void free_slab(Shelf& shelf, Descriptor& slab) noexcept;
  static std::size_t take_from(Shelf& shelf, Descriptor& slab, FreeBlock* blocks, std::size_t count) noexcept;
  static void put_back(Shelf& shelf, Descriptor& slab, FreeBlock block) noexcept;

  std::array<std::array<Shelf, kClasses>, kShards> shelves_{};
};

extern constinit HardenedSlabs hardened_slabs;
// Owns the slabs, as far as the map is concerned.
[[gnu::visibility("hidden")]] extern constinit LocalHeap hardened_owner;

}  // namespace weft::mem
