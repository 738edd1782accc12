#include "sched/fiber_pool.h"

#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

TEST(FiberPool, GivesEachFiberToOneTakerAndUsesItAgain) {
  FiberPool::Owner pool = FiberPool::create();
  std::set<FiberState*> seen;
  FiberChain all;
  for (int i = 0; i < 10; ++i) {
    FiberChain chain = pool->take(50);
    EXPECT_GE(chain.count, 1U);
    EXPECT_LE(chain.count, 50U);
    while (FiberState* fiber = chain.pop()) {
      EXPECT_TRUE(seen.insert(fiber).second);
      all.push(*fiber);
    }
  }
  const std::size_t count = all.count;
  pool->give(all);
  std::size_t again = 0;
  while (again < count) {
    FiberChain chain = pool->take(7);
    again += chain.count;
    for (FiberState* fiber = chain.first; fiber != nullptr; fiber = fiber->queue_next) EXPECT_EQ(seen.count(fiber), 1U);
    pool->give(chain.cut(chain.count));
  }
}

TEST(FiberPool, AWalkSeesThoseThatLiveAndHoldsThem) {
  FiberPool::Owner pool = FiberPool::create();
  FiberState* living = pool->take(1).first;
  FiberState* free = pool->take(1).first;
  living->begin("living", Body([] {}));
  int seen = 0;
  pool->for_each([&](FiberState& fiber) {
    ++seen;
    EXPECT_EQ(&fiber, living);
    EXPECT_EQ(fiber.references, 3U);
  });
  EXPECT_EQ(seen, 1);
  living->unref(2);
  pool->give({free, 1});
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
