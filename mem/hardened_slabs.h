// mem/hardened_slabs.h - where the threads of the hardened mode get blocks from and give them back to, many at a time. Internal.
//
//   hardened -> HardenedLists (of the thread) -> [HardenedSlabs] -> PageRuns
//
// Slabs belong to nobody: per shard and class they are linked while they have free blocks, and the lock for these is taken once for
// a batch. Which blocks of a slab are in it stands apart from it (Segment::states: a byte for each 16 bytes of the heap).
// Blocks are as marked_block.h has them. A slab begins with 16 bytes for what stands before the first, and behind the last that was
// given out so far there is always the mark of a free one.
// Locks   one for each shard and class, before that of PageRuns; a fork() holds all.
// Tests: tests/mem/hardened_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernel/spinlock.h"
#include "mem/descriptor.h"
#include "mem/marked_block.h"
#include "mem/segment.h"
#include "mem/size_class.h"

namespace weft::mem {

// Classes from 0 on whose blocks are plain. None: all are sized.
[[gnu::visibility("hidden")]] extern constinit unsigned plain_classes;
inline bool is_plain(unsigned size_class) noexcept { return size_class < plain_classes; }
inline bool is_full() noexcept { return plain_classes == 0; }

// Makes any memory a free block.
void make_free(std::byte* block, unsigned size_class) noexcept;

// These end the process if somebody wrote to a free block, or beside it; or say that a mark is none any more.
[[gnu::cold]] void report_touched(const std::byte* block, unsigned size_class) noexcept;
[[noreturn]] [[gnu::cold]] void report_mark(const std::byte* block, unsigned size_class) noexcept;
[[gnu::always_inline]] inline void expect_untouched(const std::byte* block, unsigned size_class) noexcept {
  const bool untouched = is_plain(size_class) ? marked::plain_is_untouched(block, size_class)
                                              : marked::sized_is_untouched(block, size_class, is_full());
  if (!untouched) [[unlikely]]
    report_touched(block, size_class);
}

// The place of a block in its slab; at least slab.carved if no block that was ever given out has this address inside.
struct BlockPlace {
  std::size_t index;
  std::size_t offset;  // in the block
};
BlockPlace place_in_slab(const Descriptor& slab, const void* address) noexcept;

class HardenedSlabs {
 public:
  // Threads with different shards do not get blocks of the same slab, and so not of the same lines of the cache.
  static constexpr unsigned kShards = 8;

  // Up to `count` free blocks, in an order that nobody knows. 0: no memory.
  std::size_t take(unsigned shard, unsigned size_class, std::byte** blocks, std::size_t count) noexcept;
  // Free blocks of one class, of whichever shard. They are looked at when they are taken.
  void give(std::byte* const* blocks, std::size_t count) noexcept;

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
  static std::size_t take_from(Shelf& shelf, Descriptor& slab, std::byte** blocks, std::size_t count) noexcept;
  static void put_back(Shelf& shelf, Descriptor& slab) noexcept;

  std::array<std::array<Shelf, kClasses>, kShards> shelves_{};
};

extern constinit HardenedSlabs hardened_slabs;
// Owns the slabs, as far as the map is concerned.
[[gnu::visibility("hidden")]] extern constinit LocalHeap hardened_owner;

}  // namespace weft::mem
