#include "mem/sampled_blocks.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

namespace weft::mem {
namespace {

// Large, and its memory is the heap's for good: one for all tests.
SampledBlocks& table() {
  static auto* made = new SampledBlocks;
  return *made;
}

void* address(std::uintptr_t n) { return reinterpret_cast<void*>(0x10000 + n * 16); }
std::array<void*, 3> stack_of(std::uintptr_t n) { return {address(n), address(n + 1), address(7)}; }

Sample* added(std::uintptr_t block, std::size_t bytes, std::uintptr_t stack) {
  Sample* sample = table().make();
  sample->block = address(block);
  sample->bytes = bytes;
  EXPECT_TRUE(table().add(*sample, stack_of(stack)));
  return sample;
}
const Stack* counted(std::uintptr_t stack) {
  const Stack* found = nullptr;
  table().each_stack([&](const Stack& each) {
    if (std::ranges::equal(each.frames(), stack_of(stack))) found = &each;
  });
  return found;
}

TEST(SampledBlocks, EqualStacksAreOneAndCountWhatIsLive) {
  added(1, 100, 10);
  added(2, 50, 10);
  added(3, 7, 11);
  const Stack* stack = counted(10);
  ASSERT_NE(stack, nullptr);
  EXPECT_EQ(stack->live_blocks, 2U);
  EXPECT_EQ(stack->live_bytes, 150U);
  Sample* gone = table().free(address(1));
  ASSERT_NE(gone, nullptr);
  EXPECT_EQ(gone->bytes, 100U);
  EXPECT_EQ(stack->live_blocks, 1U);
  EXPECT_EQ(stack->live_bytes, 50U);
  EXPECT_EQ(stack->all_blocks, 2U);
  EXPECT_EQ(stack->all_bytes, 150U);
  EXPECT_EQ(counted(11)->live_bytes, 7U);
}

TEST(SampledBlocks, WhatWasFreedIsKnownUntilItIsRemovedOrReplaced) {
  Sample* sample = added(20, 64, 20);
  EXPECT_TRUE(table().is_live(address(20)));
  EXPECT_EQ(table().free(address(20), stack_of(21)), sample);
  EXPECT_FALSE(table().is_live(address(20)));
  EXPECT_EQ(table().free(address(20)), nullptr);
  Sample known;
  ASSERT_TRUE(table().look_up(address(20), known));
  EXPECT_FALSE(known.live);
  EXPECT_TRUE(std::ranges::equal(known.freed_by->frames(), stack_of(21)));
  added(20, 80, 22);
  ASSERT_TRUE(table().look_up(address(20), known));
  EXPECT_TRUE(known.live);
  EXPECT_EQ(known.bytes, 80U);
  Sample* second = table().free(address(20));
  table().remove(*second);
  table().drop(*second);
  EXPECT_FALSE(table().look_up(address(20), known));
}

TEST(SampledBlocks, TheSameSampleIsAddedAgainAfterItsBlockWasFreed) {
  Sample* slot = added(30, 32, 30);
  EXPECT_EQ(table().free(address(30)), slot);
  EXPECT_TRUE(table().add(*slot, stack_of(31)));
  EXPECT_EQ(table().free(address(30)), slot);
  EXPECT_EQ(counted(30)->live_blocks, 0U);
  EXPECT_EQ(counted(31)->all_blocks, 1U);
}

TEST(SampledBlocks, ThousandsAreFoundEach) {
  for (std::uintptr_t i = 0; i < 20000; ++i) added(1000 + i, i + 1, 40);
  EXPECT_EQ(counted(40)->live_blocks, 20000U);
  for (std::uintptr_t i = 0; i < 20000; ++i) {
    Sample* sample = table().free(address(1000 + i));
    ASSERT_NE(sample, nullptr);
    ASSERT_EQ(sample->bytes, i + 1);
    table().remove(*sample);
    table().drop(*sample);
  }
  EXPECT_EQ(counted(40)->live_bytes, 0U);
}

}  // namespace
}  // namespace weft::mem
