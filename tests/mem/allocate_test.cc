#include "mem/allocate.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <vector>

#include "mem/stats.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

using test::fill;
using test::invariants_hold;
using test::is_filled;

bool aligned_to(const void* block, std::size_t align) { return reinterpret_cast<std::uintptr_t>(block) % align == 0; }

TEST(Allocate, BlocksOfEverySizeAreApartAlignedAndAsLargeAsAsked) {
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t size = 0; size < 300000; size += 1 + size / 7) {
    for (int i = 0; i < 3; ++i) {
      void* block = allocate(size);
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(aligned_to(block, size > 8 ? 16 : 8)) << size;
      ASSERT_GE(usable_size(block), size);
      fill(block, usable_size(block), blocks.size());
      blocks.emplace_back(block, usable_size(block));
    }
  }
  EXPECT_TRUE(invariants_hold());
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    ASSERT_TRUE(is_filled(blocks[i].first, blocks[i].second, i)) << blocks[i].second;
    release(blocks[i].first);
  }
  EXPECT_TRUE(invariants_hold());
}

TEST(Allocate, TheSameBlockComesBackFirst) {
  void* first = allocate(100);
  release(first);
  EXPECT_EQ(allocate(100), first);
  release(first);
}

TEST(Allocate, WhatIsReleasedIsUsedAgain) {
  const std::size_t before = gather_stats().live_bytes;
  for (int round = 0; round < 200; ++round) {
    std::vector<void*> blocks;
    blocks.reserve(1000);
    for (int i = 0; i < 1000; ++i) blocks.push_back(allocate(200));
    for (void* block : blocks) release(block);
  }
  // One round is 208,000 bytes; forty megabytes went by.
  EXPECT_LT(gather_stats().live_bytes, before + 1000000);
}

TEST(Allocate, ASlabWhoseBlocksAreAllFreeGoesBack) {
  std::vector<void*> blocks;
  blocks.reserve(100000);
  for (int i = 0; i < 100000; ++i) blocks.push_back(allocate(100));
  const std::size_t full = gather_stats().live_bytes;
  for (void* block : blocks) release(block);
  // A few active ones and one more may stay.
  EXPECT_LT(gather_stats().live_bytes, full - 100000 * 112 + 600000);
  EXPECT_TRUE(invariants_hold());
}

TEST(Allocate, ZeroedBlocksAreZeroAlsoWhereOthersWere) {
  for (const std::size_t size : {std::size_t{24}, std::size_t{5000}, std::size_t{100000}, std::size_t{3000000}}) {
    for (int i = 0; i < 3; ++i) {
      auto* block = static_cast<unsigned char*>(allocate_zeroed(size, 1));
      ASSERT_NE(block, nullptr);
      for (std::size_t at = 0; at < size; ++at) ASSERT_EQ(block[at], 0) << size;
      fill(block, size, 5);
      release(block);
    }
  }
}

TEST(Allocate, AlignedBlocksAreAligned) {
  std::vector<void*> blocks;
  blocks.reserve(1000);
  for (std::size_t align = 1; align <= std::size_t{64} << 20; align *= 2) {
    for (const std::size_t size : {0UL, 1UL, 24UL, 100UL, 4096UL, 5000UL, 20000UL, 70000UL}) {
      void* block = allocate_aligned(align, size);
      ASSERT_NE(block, nullptr);
      ASSERT_TRUE(aligned_to(block, align)) << size << " aligned to " << align;
      ASSERT_GE(usable_size(block), size);
      fill(block, size, align);
      blocks.push_back(block);
    }
  }
  EXPECT_TRUE(invariants_hold());
  for (void* block : blocks) release(block);
  EXPECT_TRUE(invariants_hold());
}

TEST(Allocate, AGigabyteOfAlignmentIsMet) {
  void* block = allocate_aligned(std::size_t{1} << 30, 10);
  ASSERT_NE(block, nullptr);
  EXPECT_TRUE(aligned_to(block, std::size_t{1} << 30));
  release(block);
  EXPECT_TRUE(invariants_hold());
}

TEST(Allocate, WhatCannotBeIsRefusedWithENOMEM) {
  for (const std::size_t size : {SIZE_MAX, SIZE_MAX - 8, kMaxRequest + 1, kMaxRequest, std::size_t{1} << 48}) {
    errno = 0;
    EXPECT_EQ(allocate(size), nullptr);
    EXPECT_EQ(errno, ENOMEM);
  }
  errno = 0;
  EXPECT_EQ(allocate_zeroed(SIZE_MAX / 2, 3), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  errno = 0;
  EXPECT_EQ(allocate_aligned(std::size_t{1} << 62, 8), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  errno = 0;
  EXPECT_EQ(allocate_aligned(48, 8), nullptr);
  EXPECT_EQ(errno, EINVAL);
}

TEST(Allocate, ErrnoIsLeftAloneByWhatSucceeds) {
  errno = 77;
  void* small = allocate(10);
  void* large = allocate(10 << 20);
  large = reallocate(large, 50 << 20);
  release(small);
  release(large);
  EXPECT_EQ(errno, 77);
}

TEST(Allocate, ReallocateKeepsWhatFits) {
  void* block = nullptr;
  std::size_t size = 0;
  for (const std::size_t next :
       {1UL, 20UL, 100UL, 90UL, 5000UL, 40000UL, 500000UL, 9000000UL, 8000000UL, 200000UL, 30000UL, 64UL}) {
    void* moved = reallocate(block, next);
    ASSERT_NE(moved, nullptr);
    ASSERT_TRUE(is_filled(moved, std::min(size, next), 3)) << size << " to " << next;
    ASSERT_GE(usable_size(moved), next);
    fill(moved, next, 3);
    block = moved;
    size = next;
  }
  EXPECT_EQ(reallocate(block, 0), nullptr);
  EXPECT_TRUE(invariants_hold());
}

TEST(Allocate, AFailedReallocateLeavesTheBlock) {
  void* block = allocate(100);
  fill(block, 100, 1);
  errno = 0;
  EXPECT_EQ(reallocate(block, SIZE_MAX), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_TRUE(is_filled(block, 100, 1));
  release(block);
}

TEST(Allocate, NothingIsNobodysProblem) {
  release(nullptr);
  EXPECT_EQ(usable_size(nullptr), 0U);
  std::array<void*, 4> here{};
  EXPECT_FALSE(is_ours(&here));
  EXPECT_EQ(usable_size(&here), 0U);
  release(&here);  // nobody to hand it to: left alone
}

TEST(Allocate, APointerThatIsNotOursIsHandedOn) {
  static void* handed;
  foreign_free = [](void* block) { handed = block; };
  std::array<void*, 4> here{};
  release(&here);
  foreign_free = nullptr;
  EXPECT_EQ(handed, &here);
}

TEST(AllocateDeathTest, AFreeOfWhatIsNotAllocatedSaysSo) {
  void* large = allocate(200000);
  release(large);
  EXPECT_DEATH(release(large), "weft heap: free of an address at which nothing is allocated .freed before..: 0x");
  void* other = allocate(200000);
  EXPECT_DEATH(release(static_cast<char*>(other) + 16), "weft heap: free of an address");
  release(other);
}

}  // namespace
}  // namespace weft::mem
