#include "mem/region.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <vector>

#include "mem/stats.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

TEST(Region, BlocksAreApartAndAligned) {
  Region region;
  std::vector<std::pair<void*, std::size_t>> blocks;
  for (std::size_t i = 0; i < 2000; ++i) {
    const std::size_t align = std::size_t{1} << i % 13;
    const std::size_t size = i * 7 % 900;
    void* block = region.allocate(size, align);
    ASSERT_NE(block, nullptr);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(block) % align, 0U);
    test::fill(block, size, i);
    blocks.emplace_back(block, size);
  }
  void* large = region.allocate(5 << 20);
  test::fill(large, 5 << 20, 1);
  for (std::size_t i = 0; i < blocks.size(); ++i) ASSERT_TRUE(test::is_filled(blocks[i].first, blocks[i].second, i));
}

TEST(Region, ResetKeepsOneChunkAndGivesItOutAgain) {
  Region region;
  for (int i = 0; i < 1000; ++i) region.allocate(1000);
  const std::size_t full = region.held_bytes();
  region.reset();
  EXPECT_LT(region.held_bytes(), full);
  const std::size_t kept = region.held_bytes();
  void* first = region.allocate(100);
  region.reset();
  EXPECT_EQ(region.allocate(100), first);
  EXPECT_EQ(region.held_bytes(), kept);
}

TEST(Region, GivesEverythingBack) {
  const std::size_t before = gather_stats().used_bytes;
  {
    Region region;
    for (int i = 0; i < 100; ++i) region.allocate(50000);
    Region other = std::move(region);
    other.allocate(10);
  }
  EXPECT_EQ(gather_stats().used_bytes, before);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(Region, RefusesWhatCannotBe) {
  Region region;
  errno = 0;
  EXPECT_EQ(region.allocate(SIZE_MAX - 10), nullptr);
  EXPECT_EQ(errno, ENOMEM);
}

}  // namespace
}  // namespace weft::mem
