#include "sched/stack.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>
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

// Of a heap's, say: what was taken is given back, and what the stacks need is done to it.
std::atomic<int> slabs_out{0};
void* take_counted(std::size_t bytes) {
  ++slabs_out;
  void* mapped = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return mapped == MAP_FAILED ? nullptr : mapped;
}
void give_counted(void* start, std::size_t bytes) {
  --slabs_out;
  munmap(start, bytes);
}

TEST(StackPool, TakesItsMemoryFromWhereItIsTold) {
  {
    StackDepot depot(64 * 1024, {.take = take_counted, .give = give_counted});
    auto usual = depot.take();
    auto other = depot.take(1024 * 1024);
    ASSERT_TRUE(usual.has_value() && other.has_value());
    EXPECT_EQ(slabs_out, 2);
    std::memset(other->bottom, 1, other->size_bytes);
    depot.give(*usual);
    depot.give(*other);
  }
  EXPECT_EQ(slabs_out, 0);
}

TEST(StackPool, SaysSoWhenNoMemoryIsGiven) {
  StackPool pool(64 * 1024, {.take = [](std::size_t) -> void* {
                               errno = ENOMEM;
                               return nullptr;
                             },
                             .give = give_counted});
  const auto stack = pool.take();
  ASSERT_FALSE(stack.has_value());
  EXPECT_EQ(stack.error(), Errc::kNoMemory);
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
  StackPool pool(std::size_t{1} << 47);
  auto stack = pool.take();
  ASSERT_FALSE(stack);
  EXPECT_EQ(stack.error(), Errc::kNoMemory);
  EXPECT_NE(stack.error().message().find("vm.max_map_count"), std::string::npos);
}

TEST(StackPool, HighWaterIsTheDeepestThatWasTouched) {
  StackPool pool(64 * 1024);
  auto first = pool.take();
  auto second = pool.take();
  ASSERT_TRUE(first && second);
  EXPECT_EQ(touched_bytes(*first), 0U);
  first->bottom[first->size_bytes - 1] = std::byte{1};
  EXPECT_EQ(touched_bytes(*first), 4096U);
  second->bottom[second->size_bytes - 3 * 4096] = std::byte{1};
  EXPECT_EQ(touched_bytes(*second), 3 * 4096U);
  pool.give(*first);
  pool.give(*second);
  EXPECT_EQ(pool.high_water_bytes(), 3 * 4096U);
}

TEST(StackDepot, GivesTheSmallestSizeThatIsLargeEnough) {
  StackDepot depot(96 * 1024);
  const std::pair<std::size_t, std::size_t> wishes[] = {
      {0, 96 * 1024},         {96 * 1024, 96 * 1024},  {70 * 1024, 96 * 1024}, {1, 16 * 1024},
      {16 * 1024, 16 * 1024}, {17 * 1024, 32 * 1024},  {64 * 1024, 64 * 1024}, {97 * 1024, 128 * 1024},
      {8 << 20, 8 << 20},     {64 << 20, 64ULL << 20},
  };
  for (const auto& [wish, size] : wishes) {
    auto stack = depot.take(wish);
    ASSERT_TRUE(stack.has_value()) << wish;
    EXPECT_EQ(stack->size_bytes, size) << wish;
    stack->bottom[0] = std::byte{1};
    stack->bottom[size - 1] = std::byte{1};
    depot.give(*stack);
    auto again = depot.take(wish);
    ASSERT_TRUE(again.has_value());
    EXPECT_EQ(again->bottom, stack->bottom) << "goes back to where it came from";
    depot.give(*again);
  }
  auto too_large = depot.take((64 << 20) + 1);
  ASSERT_FALSE(too_large);
  EXPECT_EQ(too_large.error(), Errc::kInvalid);
  auto one = depot.take(32 * 1024);
  ASSERT_TRUE(one.has_value());
  const auto uses = depot.use(true);
  EXPECT_EQ(uses.size(), 7U);
  for (const StackUse& use : uses) EXPECT_EQ(use.with_fibers, use.stack_bytes == 32 * 1024 ? 1U : 0U);
  depot.give(*one);
}

}  // namespace
}  // namespace weft::sched
