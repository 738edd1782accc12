#include "sched/lock_place.h"

#include <gtest/gtest.h>

#include <mutex>
#include <shared_mutex>
#include <thread>

#include "sched/condition_variable.h"
#include "sched/mutex.h"
#include "sched/runtime.h"
#include "sched/spawn.h"

namespace weft::sched {
namespace {

constexpr LockRank kOuter{10, "outer"}, kInner{20, "inner"};

class LockPlaceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!kLockOrderChecked) GTEST_SKIP() << "locks are checked in sanitizer builds (make asan, tsan, ubsan)";
  }
  Mutex outer{kOuter};
  SharedMutex inner{kInner};
};
using LockPlaceDeathTest = LockPlaceTest;

TEST_F(LockPlaceTest, WrittenOrderIsLetThroughAlsoOverAWaitAndAMigration) {
  auto runtime = Runtime::create({.workers = 2});
  ConditionVariable condition;
  bool go = false;
  runtime->block_on([&] {
    Fiber waiter = spawn("waiter", [&] {
      std::unique_lock guard(outer);
      while (!go) condition.wait(guard);  // lets go of it, and takes it again
      const std::shared_lock second(inner);
      yield();
    });
    for (int i = 0; i < 100; ++i) {
      const std::lock_guard guard(outer);
      const std::shared_lock second(inner);
      yield();
    }
    {
      const std::lock_guard guard(outer);
      go = true;
    }
    condition.notify_all();
    waiter.join();
  });
}

TEST_F(LockPlaceDeathTest, WrongOrderEndsTheProcessThoughNobodyElseWaits) {
  EXPECT_DEATH(
      {
        const std::shared_lock guard(inner);
        const std::lock_guard second(outer);
      },
      "\"outer\" 0 is asked for while \"inner\" 0 is held");
}

TEST_F(LockPlaceTest, TryInTheWrongOrderIsNoWait) {
  const std::lock_guard guard(inner);
  ASSERT_TRUE(outer.try_lock());
  outer.unlock();
}

TEST_F(LockPlaceTest, EveryFiberHasItsOwn) {
  const std::lock_guard guard(inner);
  std::thread([this] { const std::lock_guard second(outer); }).join();
}

}  // namespace
}  // namespace weft::sched
