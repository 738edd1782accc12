#include "sched/condition_variable.h"

#include <gtest/gtest.h>

#include <shared_mutex>
#include <stop_token>
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

TEST(ConditionVariable, WaitsUnderAnyLock) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  SharedMutex shared;
  ConditionVariable changed;
  bool ready = false;
  std::vector<Fiber> readers;
  for (int i = 0; i < 4; ++i)
    readers.push_back(runtime->spawn("reader", [&] {
      std::shared_lock lock(shared);
      changed.wait(lock, [&] { return ready; });
      EXPECT_TRUE(lock.owns_lock());
    }));
  std::mutex plain;
  std::unique_lock lock(plain);
  EXPECT_EQ(changed.wait_for(lock, 1ms), std::cv_status::timeout);
  EXPECT_TRUE(lock.owns_lock());
  {
    const std::lock_guard write(shared);
    ready = true;
  }
  changed.notify_all();
  for (auto& reader : readers) reader.join();
}

TEST(ConditionVariable, AStopTokenEndsTheWait) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  for (int round = 0; round < 500; ++round) {
    Mutex mutex;
    ConditionVariable never;
    std::stop_source source;
    Fiber waiter = runtime->spawn("waiter", [&] {
      std::unique_lock lock(mutex);
      EXPECT_FALSE(never.wait(lock, source.get_token(), [] { return false; }));
      EXPECT_TRUE(lock.owns_lock());
    });
    if (round % 3 == 0) std::this_thread::yield();
    source.request_stop();  // before, while or after it begins to wait
    waiter.join();
    std::unique_lock lock(mutex);
    EXPECT_FALSE(never.wait_for(lock, source.get_token(), 1h, [] { return false; }));
    EXPECT_TRUE(never.wait(lock, source.get_token(), [] { return true; })) << "the predicate is asked first";
  }
}

TEST(ConditionVariable, TimePointsOfAnyClockAreDeadlines) {
  Mutex mutex;
  ConditionVariable never;
  std::unique_lock lock(mutex);
  EXPECT_EQ(never.wait_until(lock, SteadyClock::now() + 1ms), std::cv_status::timeout);
  EXPECT_EQ(never.wait_until(lock, std::chrono::steady_clock::now() + 1ms), std::cv_status::timeout);
  EXPECT_FALSE(never.wait_until(lock, std::chrono::system_clock::now() + 1ms, [] { return false; }));
}

}  // namespace
}  // namespace weft::sched
