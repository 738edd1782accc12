// mem/hardened_lists.h - a thread's lists of free blocks in hardened mode, and the quarantine before them. Internal.
//
//   free -> [quarantine: the last 2 to 16 of the class] -> looked at -> [list] -> malloc's fast path, or hardened.cc
//
// Of plain blocks malloc takes one as it does in the fast mode, from the list of `current_heap`, which these are. All looking is done by free:
// it puts its block in the quarantine and takes the one out that has been there longest. So a plain block in a list counts as in use: freed
// twice it is seen at once while it is in quarantine, and afterwards when it, or who has it by then, is freed. Sized ones are
// free until they are given out, and their lists are not to be read: links are mixed with a random number.
// A list that grows because this thread frees what others make is measured now and then, and what is too much goes back.
// A block goes through here whoever made it: threads meet only in HardenedSlabs.
// Locks   none; they are their thread's. The lists without a thread have one.
// Tests: tests/mem/hardened_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "mem/local_heap.h"
#include "mem/marked_block.h"
#include "mem/size_class.h"

namespace weft::mem {

// Of the LocalHeap nothing is used but the lists, for plain blocks.
class HardenedLists : public LocalHeap {
 public:
  // Those of a thread that has none: without a block, and exchange() is never possible.
  constexpr HardenedLists() noexcept = default;
  explicit HardenedLists(unsigned shard) noexcept;

  // `block` goes into quarantine, and the result comes out. nullptr: neither, exchange_slowly().
  [[gnu::always_inline]] std::byte* exchange(unsigned size_class, std::byte* block) noexcept {
    Lane& lane = lanes_[size_class];
    const std::int64_t left = lane.left - 1;
    if (left < 0) [[unlikely]]
      return nullptr;
    lane.left = left;
    std::byte*& slot = lane.waiting[static_cast<std::uint64_t>(left) & lane.mask];
    std::byte* oldest = slot;
    // One comparison for both.
    if (oldest == nullptr) __builtin_unreachable();
    slot = block;
    return oldest;
  }
  // The same, but nullptr means that nothing comes out: the quarantine is not full yet.
  std::byte* exchange_slowly(unsigned size_class, std::byte* block) noexcept;

  // Of sized blocks.
  void push_hidden(unsigned size_class, std::byte* block) noexcept {
    link_of(block) = mixed(hidden_[size_class]);
    hidden_[size_class] = block;
  }
  // nullptr: there is none.
  std::byte* pop_hidden(unsigned size_class) noexcept {
    std::byte* block = hidden_[size_class];
    if (block != nullptr) [[likely]]
      hidden_[size_class] = mixed(static_cast<std::byte*>(link_of(block)));
    return block;
  }

  // A block, and others for the list; a plain one is marked as in use. nullptr: no memory.
  std::byte* refill_from_slabs(unsigned size_class) noexcept;
  // What is more than a batch of a class goes back: for the next thread.
  void shrink() noexcept;
  // All of it goes back.
  void flush_to_slabs() noexcept;

  // Free blocks here. O(blocks).
  std::size_t blocks_of(unsigned size_class) const noexcept;

  HardenedLists* next_spare = nullptr;

 private:
  static constexpr std::uint32_t kDepth = 16;
  struct Lane {
    std::int64_t left = 0;   // frees until the list is measured
    std::uint32_t mask = 0;  // gives the slot; the depth of the quarantine, less one
    std::uint32_t count = 0;
    std::array<std::byte*, kDepth> waiting{};
  };

  static std::byte* mixed(std::byte* link) noexcept {
    return reinterpret_cast<std::byte*>(reinterpret_cast<std::uintptr_t>(link) ^ canary::pattern[1]);
  }
  void push_either(unsigned size_class, std::byte* block) noexcept;
  std::byte* first_of(unsigned size_class) const noexcept;
  static std::byte* next_of(unsigned size_class, std::byte* block) noexcept;
  void shorten(unsigned size_class, std::size_t to) noexcept;
  static void give_back(unsigned size_class, std::byte* chain) noexcept;

  std::array<Lane, kClasses> lanes_{};
  std::array<std::byte*, kClasses> hidden_{};
  unsigned shard_ = 0;
};

extern constinit thread_local HardenedLists* current_lists;

// The thread's, made if need be; nullptr: no memory.
HardenedLists* attach_lists() noexcept;
// Those of threads that have ended.
void flush_spare_lists() noexcept;

void lists_before_fork() noexcept;
void lists_after_fork() noexcept;

}  // namespace weft::mem
