#include "mem/heap.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <thread>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

using test::invariants_hold;

TEST(Heap, ItsBlocksGoWithIt) {
  const std::size_t before = gather_stats().live_bytes;
  {
    auto heap = Heap::create();
    ASSERT_TRUE(heap);
    for (int i = 0; i < 20000; ++i) ASSERT_NE(heap->allocate(300), nullptr);
    for (int i = 0; i < 50; ++i) ASSERT_NE(heap->allocate_zeroed(200000), nullptr);
    EXPECT_GE(heap->held_bytes(), 16000000U);
    EXPECT_TRUE(invariants_hold());
  }
  EXPECT_LE(gather_stats().live_bytes, before + kUnitBytes);
  EXPECT_TRUE(invariants_hold());
}

TEST(Heap, ItsBlocksHoldWhatIsWrittenAndMayBeFreedByAnybody) {
  auto heap = Heap::create();
  Random random(3);
  std::vector<std::pair<void*, std::size_t>> blocks(500);
  for (int i = 0; i < 10000; ++i) {
    const std::size_t index = random.below(blocks.size());
    auto& [block, size] = blocks[index];
    if (block != nullptr) {
      ASSERT_TRUE(test::is_filled(block, size, index));
    }
    const std::size_t next = 1 + (random.one_in(30) ? random.below(200000) : random.below(2000));
    if (random.one_in(3)) {
      release(block);
      block = random.one_in(2) ? heap->allocate(next) : heap->allocate_aligned(256, next);
    } else {
      block = heap->reallocate(block, next);
    }
    ASSERT_NE(block, nullptr);
    size = next;
    test::fill(block, size, index);
  }
  EXPECT_TRUE(invariants_hold());
  std::jthread([&] {
    for (const auto& each : blocks) release(each.first);
  }).join();
  EXPECT_TRUE(invariants_hold());
}

TEST(Heap, StaysWithinItsLimit) {
  auto heap = Heap::create(1 << 20);
  std::vector<void*> blocks;
  blocks.reserve(100000);
  errno = 0;
  while (void* block = heap->allocate(100)) blocks.push_back(block);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_LE(heap->held_bytes(), std::size_t{1} << 20);
  EXPECT_GE(blocks.size() * 112, 900000U);
  EXPECT_EQ(heap->allocate(100000), nullptr);
  for (void* block : blocks) heap->release(block);
  EXPECT_NE(heap->allocate(500000), nullptr) << "what was freed counts no more";
  EXPECT_EQ(heap->allocate(600000), nullptr);
  EXPECT_TRUE(invariants_hold());
}

TEST(Heap, ManyThreadsMayUseOne) {
  auto heap = Heap::create();
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&heap, t] {
        Random random(t);
        std::vector<void*> blocks(100);
        for (int i = 0; i < 5000; ++i) {
          void*& block = blocks[random.below(blocks.size())];
          heap->release(block);
          block = heap->allocate(random.below(5000));
        }
      });
    }
  }
  EXPECT_TRUE(invariants_hold());
}

TEST(Heap, MovesWithItsBlocks) {
  auto first = Heap::create();
  void* block = first->allocate(10);
  Heap second = std::move(*first);
  first.reset();
  test::fill(block, 10, 1);
  second.release(block);
  EXPECT_EQ(second.allocate(10), block);
}

TEST(Heap, DoesNotTakeOverWhatAnEndedThreadLeft) {
  std::vector<void*> kept;
  kept.reserve(500);
  // Slabs with room, of a heap without a thread.
  std::jthread([&] {
    std::vector<void*> all(1000);
    for (void*& block : all) block = allocate(304);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (i % 2 == 0) {
        test::fill(all[i], 304, i);
        kept.push_back(all[i]);
      } else {
        release(all[i]);
      }
    }
  }).join();
  {
    auto heap = Heap::create();
    ASSERT_TRUE(heap.has_value());
    for (int i = 0; i < 2000; ++i) ASSERT_NE(heap->allocate(304), nullptr);
  }
  EXPECT_TRUE(test::invariants_hold());
  for (std::size_t i = 0; i < kept.size(); ++i) {
    EXPECT_TRUE(test::is_filled(kept[i], 304, 2 * i));
    EXPECT_EQ(usable_size(kept[i]), kClassBytes[class_of(304)]) << "its slab is gone";
    release(kept[i]);
  }
}

}  // namespace
}  // namespace weft::mem
