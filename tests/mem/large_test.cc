#include "mem/large.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <new>
#include <string>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/page_runs.h"
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

// A block of one unit directly behind another, so that this one cannot grow. nullptr: something is there already.
void* wall_behind(void* block) {
  Segment& segment = *segment_with(block);
  Descriptor& run = segment.descriptors[unit_at(segment, block)];
  const std::size_t units = run.units;
  if (!page_runs.grow(run, units + 1)) return nullptr;
  run.units = static_cast<std::uint32_t>(units);
  Descriptor& wall = (&run)[units];
  ::new (&wall)
      Descriptor{.kind = Kind::kLarge, .segment = run.segment, .units = 1, .lead = run.lead + run.units, .large = {}};
  wall.large.bytes = kUnitBytes;
  segment.map[unit_of(wall)] = kLargeEntry;
  return start_of(wall);
}

TEST(Large, MovesPagesWhenItCannotGrow) {
  void* grown = allocate(1 << 20);
  std::vector<void*> walls;
  for (std::size_t size = 2 << 20; size <= std::size_t{64} << 20; size *= 2) {
    fill(grown, 1 << 20, size);
    walls.push_back(wall_behind(grown));
    void* before = grown;
    grown = reallocate(grown, size);
    ASSERT_NE(grown, nullptr);
    EXPECT_NE(grown, before);
    ASSERT_TRUE(is_filled(grown, 1 << 20, size));
  }
  EXPECT_TRUE(invariants_hold());
  release(grown);
  for (void* each : walls) release(each);
  EXPECT_TRUE(invariants_hold());
}

TEST(Large, WhatHasGrownHasRoomToGrowOn) {
  void* grown = allocate(40000);
  std::vector<void*> others;
  grown = reallocate(grown, 100000);
  void* const there = grown;
  for (std::size_t size = 150000; size < 3000000; size += size / 2) {
    others.push_back(allocate(1 + size / 2));
    others.push_back(reallocate(allocate(40000), size));
    grown = reallocate(grown, size);
    EXPECT_EQ(grown, there);
  }
  release(grown);
  // What grew goes back as it is freed: its pages were few, and are where nothing else is.
  Segment& segment = *segment_with(there);
  const std::size_t unit = unit_at(segment, there);
  EXPECT_EQ(segment.dirty[unit / 64] >> unit % 64 & 1, 0U);
  for (void* each : others) release(each);
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
    void* wall = wall_behind(block);
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

// Address space for it there is: 47 bits.
TEST(Large, MoreUnitsThanARunCanHaveAreRefused) {
  EXPECT_EQ(allocate(std::size_t{1} << 46), nullptr);
  EXPECT_EQ(allocate_aligned(std::size_t{1} << 44, std::size_t{1} << 44), nullptr);
  void* block = allocate(100000);
  EXPECT_EQ(reallocate(block, std::size_t{1} << 46), nullptr);
  release(block);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(Large, UsableSizeIsWholePages) {
  void* block = allocate(200000);
  EXPECT_EQ(usable_size(block), 200704U);
  release(block);
}

}  // namespace
}  // namespace weft::mem
