#include "sched/fiber_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

TEST(FiberPool, GivesEachFiberToOneTakerAndUsesItAgain) {
  FiberPool::Owner pool = FiberPool::create();
  std::set<FiberState*> seen;
  std::vector<FiberState*> all;
  for (int i = 0; i < 10; ++i) {
    std::array<FiberState*, 50> taken{};
    const std::size_t count = pool->take(taken);
    EXPECT_GE(count, 1U);
    ASSERT_LE(count, 50U);
    for (FiberState* fiber : std::span(taken).first(count)) {
      EXPECT_TRUE(seen.insert(fiber).second);
      all.push_back(fiber);
    }
  }
  pool->give(all);
  std::size_t again = 0;
  while (again < all.size()) {
    std::array<FiberState*, 7> taken{};
    const std::span some = std::span(taken).first(pool->take(taken));
    again += some.size();
    for (FiberState* fiber : some) EXPECT_EQ(seen.count(fiber), 1U);
    pool->give(some);
  }
}

TEST(FiberPool, ANameIsKeptUpToItsRoom) {
  FiberPool::Owner pool = FiberPool::create();
  FiberState* fiber = nullptr;
  pool->take({&fiber, 1});
  const std::string letters = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFGH";
  for (std::size_t length = 0; length <= letters.size(); ++length) {
    fiber->begin(letters.substr(0, length), Body([] {}));
    EXPECT_EQ(fiber->name, letters.substr(0, std::min<std::size_t>(length, 31)));
  }
  pool->give({&fiber, 1});
}

TEST(FiberPool, AWalkSeesThoseThatLiveAndHoldsThem) {
  FiberPool::Owner pool = FiberPool::create();
  FiberState* living = nullptr;
  FiberState* free = nullptr;
  pool->take({&living, 1});
  pool->take({&free, 1});
  living->begin("living", Body([] {}));
  int seen = 0;
  pool->for_each([&](FiberState& fiber) {
    ++seen;
    EXPECT_EQ(&fiber, living);
    EXPECT_EQ(fiber.references, 3U);
  });
  EXPECT_EQ(seen, 1);
  living->unref(2);
  pool->give({&free, 1});
}

TEST(FiberPool, AHandleMayOutliveItsRuntime) {
  Fiber handle;
  {
    auto runtime = Runtime::create({.workers = 2});
    ASSERT_TRUE(runtime.has_value());
    handle = runtime->spawn("short", [] {});
  }
  auto second = Runtime::create({.workers = 1});
  ASSERT_TRUE(second.has_value());
  second->block_on([&] { handle.join(); });
}

TEST(FiberPool, AHandleOfAnotherRuntimesFiberIsJoinedFromAFiber) {
  auto first = Runtime::create({.workers = 1});
  auto second = Runtime::create({.workers = 2});
  ASSERT_TRUE(first.has_value() && second.has_value());
  first->block_on([&] {
    for (int i = 0; i < 200; ++i) {
      int ran = 0;
      second->spawn("over there", [&] { ran = on_fiber() ? 1 : 0; }).join();
      ASSERT_EQ(ran, 1);
    }
  });
}

}  // namespace
}  // namespace weft::sched
