// What a thread's heap keeps of pages: as few as its blocks need.
#include "mem/local_heap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "mem/allocate.h"
#include "mem/page_runs.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

using test::invariants_hold;

std::vector<void*> blocks_of(std::size_t size, std::size_t bytes) {
  std::vector<void*> blocks(bytes / size);
  std::ranges::generate(blocks, [size] { return allocate(size); });
  return blocks;
}
void release_all(const std::vector<void*>& blocks) {
  for (void* block : blocks) release(block);
}

TEST(LocalHeap, OfThousandsOfBlocksFewThatStayKeepFewPages) {
  trim(0);
  const std::size_t before = page_runs.live_units();
  const std::vector<void*> blocks = blocks_of(1024, 8 << 20);
  const std::size_t full = page_runs.live_units() - before;
  std::vector<void*> kept;
  kept.reserve(blocks.size() / 32 + 1);
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i % 32 == 0) {
      kept.push_back(blocks[i]);
    } else {
      release(blocks[i]);
    }
  }
  trim(0);
  // Sixteen to a slab: every second one is empty, however many there are.
  EXPECT_LT(page_runs.live_units() - before, full * 5 / 8);
  EXPECT_TRUE(invariants_hold());
  release_all(kept);
}

TEST(LocalHeap, ListsThatNobodyUsesAnyMoreComeBeforeNewPages) {
  trim(0);
  const std::size_t before = page_runs.live_units();
  // Of each size less than it takes to have a probe.
  constexpr std::size_t kBytes = 512 << 10;
  constexpr int kSizes = 10;
  for (std::size_t size = 256; size < 256 + kSizes * 64; size += 64) release_all(blocks_of(size, kBytes));
  EXPECT_LT(page_runs.live_units() - before, kSizes * kBytes / kUnitBytes / 2);
  EXPECT_TRUE(invariants_hold());
}

TEST(LocalHeap, AListInUseStaysWhileOthersGrow) {
  trim(0);
  const std::vector<void*> used = blocks_of(240, 32 << 10);
  release_all(used);
  std::vector<void*> others;
  for (auto expected = used.rbegin(); expected != used.rend(); ++expected) {
    // A slab of another size is made for each.
    const std::vector<void*> more = blocks_of(2048, 16 << 10);
    others.insert(others.end(), more.begin(), more.end());
    others.push_back(allocate(240));
    EXPECT_EQ(others.back(), *expected);
  }
  release_all(others);
}

// Large blocks come and go in megabytes; a list that went back each time would be made of other pages the next time.
TEST(LocalHeap, ListsStayWhereLargeBlocksGo) {
  release_all(blocks_of(320, 8 << 10));
  const std::size_t waiting = current_heap->waiting_blocks(class_of(320));
  ASSERT_GT(waiting, 0U);
  for (int round = 0; round < 3; ++round) release_all(blocks_of(16 << 20, 160 << 20));
  EXPECT_EQ(current_heap->waiting_blocks(class_of(320)), waiting);
}

}  // namespace
}  // namespace weft::mem
