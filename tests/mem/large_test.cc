#include "mem/large.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

using test::fill;
using test::invariants_hold;
using test::is_filled;

std::size_t mappings() {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) ++count;
  return count;
}

TEST(Large, GrowsWhereItIsWhenWhatFollowsIsFree) {
  void* whole = allocate(100 << 20);
  void* small = reallocate(whole, 1 << 20);
  ASSERT_EQ(small, whole);
  fill(small, 1 << 20, 1);
  void* grown = reallocate(small, 50 << 20);
  EXPECT_EQ(grown, small);
  EXPECT_TRUE(is_filled(grown, 1 << 20, 1));
  release(grown);
  EXPECT_TRUE(invariants_hold());
}

TEST(Large, MovesPagesWhenItCannotGrow) {
  void* block = allocate(1 << 20);
  void* wall = allocate(64 << 10);
  void* grown = block;
  std::vector<void*> walls{wall};
  for (std::size_t size = 2 << 20; size <= std::size_t{64} << 20; size *= 2) {
    fill(grown, 1 << 20, size);
    grown = reallocate(grown, size);
    ASSERT_NE(grown, nullptr);
    ASSERT_TRUE(is_filled(grown, 1 << 20, size));
    walls.push_back(allocate(64 << 10));
  }
  EXPECT_TRUE(invariants_hold());
  release(grown);
  for (void* each : walls) release(each);
  EXPECT_TRUE(invariants_hold());
}

TEST(Large, MovedPagesDoNotLeaveMappingsBehind) {
  const std::size_t before = mappings();
  Random random(5);
  std::vector<void*> blocks(20);
  for (int i = 0; i < 2000; ++i) {
    void*& block = blocks[random.below(blocks.size())];
    block = reallocate(block, 1 + random.below(3 << 20));
    if (block != nullptr) static_cast<char*>(block)[0] = 1;
  }
  for (void* block : blocks) release(block);
  // The kernel joins most of them again; without system::replace() it would be one a move.
  EXPECT_LT(mappings(), before + 200);
  EXPECT_TRUE(invariants_hold());
}

TEST(Large, WhereABlockMovedFromReadsAsZero) {
  for (int round = 0; round < 20; ++round) {
    // The last unit is full of what was there, also beyond the pages that are asked for at last.
    void* block = allocate(20 * kUnitBytes);
    fill(block, 20 * kUnitBytes, 1);
    block = reallocate(block, 19 * kUnitBytes + 100);
    void* wall = allocate(kUnitBytes * 3);
    void* moved = reallocate(block, 60 * kUnitBytes);
    auto* zeros = static_cast<unsigned char*>(allocate_zeroed(20 * kUnitBytes, 1));
    for (std::size_t i = 0; i < 20 * kUnitBytes; ++i) ASSERT_EQ(zeros[i], 0) << "at " << i << " in round " << round;
    release(moved);
    release(wall);
    release(zeros);
  }
}

TEST(Large, ShrinkingGivesUnitsBack) {
  void* block = allocate(10 << 20);
  fill(block, 1 << 20, 9);
  EXPECT_EQ(reallocate(block, 1 << 20), block);
  EXPECT_EQ(usable_size(block), std::size_t{1} << 20);
  EXPECT_TRUE(is_filled(block, 1 << 20, 9));
  EXPECT_TRUE(invariants_hold());
  release(block);
}

TEST(Large, UsableSizeIsWholePages) {
  void* block = allocate(40000);
  EXPECT_EQ(usable_size(block), 40960U);
  release(block);
}

}  // namespace
}  // namespace weft::mem
