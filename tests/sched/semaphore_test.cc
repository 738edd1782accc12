#include "sched/semaphore.h"

#include <gtest/gtest.h>

#include <atomic>
#include <vector>

#include "sched/runtime.h"
#include "sched/wait_group.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(Semaphore, LetsInNoMoreThanItsPermits) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Semaphore semaphore(3);
  std::atomic<int> inside{0};
  runtime->block_on([&] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 12; ++f)
      fibers.push_back(spawn("user", [&] {
        for (int i = 0; i < 50; ++i) {
          ASSERT_TRUE(semaphore.acquire().has_value());
          EXPECT_LE(++inside, 3);
          yield();
          --inside;
          semaphore.release();
        }
      }));
    for (auto& fiber : fibers) fiber.join();
  });
  EXPECT_EQ(semaphore.available(), 3U);
}

TEST(Semaphore, ALargeWishThatGivesUpLetsSmallOnesPass) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Semaphore semaphore(1);
    Fiber large =
        spawn("large", [&] { EXPECT_EQ(semaphore.acquire(5, Deadline::after(3ms)).error(), Errc::kTimedOut); });
    yield();
    EXPECT_FALSE(semaphore.try_acquire());  // does not overtake
    EXPECT_TRUE(semaphore.acquire().has_value());
    large.join();
  });
}

TEST(Semaphore, HasTheStandardsNames) {
  Semaphore semaphore(1);
  EXPECT_TRUE(semaphore.try_acquire_for(1ms));
  EXPECT_FALSE(semaphore.try_acquire_for(1ms));
  EXPECT_FALSE(semaphore.try_acquire_until(std::chrono::steady_clock::now() + 1ms));
  semaphore.release();
  EXPECT_TRUE(semaphore.try_acquire_until(SteadyClock::now() + 1h));
}

TEST(WaitGroup, WaitsForAllAndTimesOut) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    WaitGroup group(10);
    EXPECT_EQ(group.wait_until(Deadline::after(1ms)).error(), Errc::kTimedOut);
    for (int i = 0; i < 10; ++i) spawn("task", [&] { group.done(); }).detach();
    group.wait();
  });
}

}  // namespace
}  // namespace weft::sched
