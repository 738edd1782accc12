#include "sched/stack.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <set>
#include <vector>

namespace weft::sched {
namespace {

TEST(StackPool, StacksAreDistinctWritableAndUsedAgain) {
  StackPool pool(64 * 1024);
  std::set<std::byte*> bottoms;
  std::vector<Stack> taken;
  for (int i = 0; i < 100; ++i) {
    auto stack = pool.take();
    ASSERT_TRUE(stack.has_value());
    std::memset(stack->bottom, 1, stack->size_bytes);
    EXPECT_TRUE(bottoms.insert(stack->bottom).second);
    taken.push_back(*stack);
  }
  for (const Stack stack : taken) pool.give(stack);
  const std::size_t made = pool.made();
  auto again = pool.take();
  ASSERT_TRUE(again.has_value());
  EXPECT_TRUE(bottoms.contains(again->bottom));
  EXPECT_EQ(pool.made(), made);
  pool.give(*again);
}

TEST(StackPool, WhatManyAtOnceHaveTouchedGoesBackToTheSystem) {
  constexpr std::size_t kMany = 600;
  StackPool pool(64 * 1024);
  std::vector<Stack> taken;
  const auto resident = [&] {
    std::size_t stacks = 0;
    for (const Stack& stack : taken) {
      unsigned char is_there = 0;
      EXPECT_EQ(mincore(stack.bottom, 4096, &is_there), 0);
      stacks += is_there & 1;
    }
    return stacks;
  };
  for (std::size_t i = 0; i < kMany; ++i) {
    auto stack = pool.take();
    ASSERT_TRUE(stack.has_value());
    std::memset(stack->bottom, 1, stack->size_bytes);
    taken.push_back(*stack);
  }
  EXPECT_EQ(resident(), kMany);
  for (const Stack stack : taken) pool.give(stack);
  EXPECT_LE(resident(), 128u);
  EXPECT_GE(resident(), 1u) << "a few stay warm";
}

TEST(StackPoolDeathTest, RunningOverTheEndIsAFault) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        StackPool pool(64 * 1024);
        auto stack = pool.take();
        *static_cast<volatile std::byte*>(stack->bottom - 1) = std::byte{1};
      },
      "");
}

TEST(StackPool, AnImpossibleWishIsAnErrorWithAdvice) {
  StackPool pool(std::size_t{1} << 45);
  auto stack = pool.take();
  ASSERT_FALSE(stack);
  EXPECT_EQ(stack.error(), Errc::kNoMemory);
  EXPECT_NE(stack.error().message().find("vm.max_map_count"), std::string::npos);
}

}  // namespace
}  // namespace weft::sched
