#include "sched/condition_variable.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(ConditionVariable, NotifyAllWakesFibersAndThreads) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Mutex mutex;
  ConditionVariable changed;
  bool open = false;
  int through = 0;
  const auto wait = [&] {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return open; });
    ++through;
  };
  std::vector<Fiber> fibers;
  for (int i = 0; i < 20; ++i) fibers.push_back(runtime->spawn("waiter", wait));
  std::thread thread(wait);
  {
    const std::lock_guard lock(mutex);
    open = true;
  }
  changed.notify_all();
  for (auto& fiber : fibers) fiber.join();
  thread.join();
  EXPECT_EQ(through, 21);
}

TEST(ConditionVariable, ATimeoutLeavesTheMutexHeld) {
  Mutex mutex;
  ConditionVariable never;
  std::unique_lock lock(mutex);
  EXPECT_FALSE(never.wait_for(lock, 1ms, [] { return false; }));
  EXPECT_TRUE(lock.owns_lock());
  EXPECT_FALSE(mutex.try_lock());
  EXPECT_TRUE(never.wait_for(lock, 1ms, [] { return true; }));
  EXPECT_EQ(never.wait_until(lock, Deadline::after(1ms), [] { return false; }).error(), Errc::kTimedOut);
}

TEST(ConditionVariable, AStopRequestEndsTheWaitThatReturnsAStatus) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Mutex mutex;
    ConditionVariable never;
    Fiber waiter = spawn("waiter", [&] {
      std::unique_lock lock(mutex);
      EXPECT_EQ(never.wait_until(lock, Deadline::never(), [] { return false; }).error(), Errc::kCancelled);
      EXPECT_TRUE(stop_requested());
    });
    (void)sleep_for(1ms);
    waiter.request_stop();
    waiter.join();
  });
}

}  // namespace
}  // namespace weft::sched
