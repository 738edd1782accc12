#include "sched/checkpoint.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "sched/runtime.h"
#include "sched/scheduling.h"
#include "sched/semaphore.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(Checkpoint, TicksAreAboutAsLongAsTheyShouldBe) {
  (void)ticks_in(1us);
  std::this_thread::sleep_for(30ms);
  (void)ticks_in(1us);
  const auto clock = std::chrono::steady_clock::now();
  const std::uint64_t ticks = read_ticks();
  std::this_thread::sleep_for(20ms);
  const std::uint64_t went = read_ticks() - ticks;
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - clock);
  EXPECT_GT(went, ticks_in(took) / 2);
  EXPECT_LT(went, ticks_in(took) * 2);
}

TEST(Checkpoint, ASliceLooksEveryFifthOfAMillisecondAndEndsAfterAHalf) {
  std::this_thread::sleep_for(30ms);  // so that the rate does not change meanwhile
  (void)ticks_in(1us);
  const std::uint64_t us = ticks_in(1us);
  Slice slice;
  std::uint64_t at = 1'000'000 * us;
  int looks = 0;
  int yields = 0;
  EXPECT_EQ(slice.ask(at, 1), Slice::Due::kLook);
  for (int i = 0; i < 10'000; ++i) {
    at += us;
    const Slice::Due due = slice.ask(at, 1);
    looks += due == Slice::Due::kLook;
    yields += due == Slice::Due::kYield;
  }
  EXPECT_NEAR(yields, 20, 1);
  EXPECT_NEAR(looks, 40, 4);
  // After a switch a new one begins.
  at += 400 * us;
  EXPECT_NE(slice.ask(at, 2), Slice::Due::kYield);
  EXPECT_NE(slice.ask(at + 450 * us, 2), Slice::Due::kYield);
  EXPECT_EQ(slice.ask(at + 510 * us, 2), Slice::Due::kYield);
}

TEST(Checkpoint, ALoopWithCheckpointsLetsOthersAndTimersGoOn) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<int> slept{0};
  std::atomic<int> turns{0};
  runtime->block_on([&] {
    Fiber sleeper = spawn("sleeper", [&] {
      for (; slept < 5; ++slept) (void)sleep_for(300us);
    });
    Fiber other = spawn("other", [&] {
      for (; turns < 5; ++turns) yield();
    });
    const Deadline deadline = Deadline::after(20s);
    while ((slept < 5 || turns < 5) && !deadline.passed()) checkpoint();
    sleeper.join();
    other.join();
  });
  EXPECT_EQ(slept, 5);
  EXPECT_EQ(turns, 5);
}

TEST(Checkpoint, AHighFiberThatWakesIsLetIn) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<bool> flag{false};
  runtime->block_on([&] {
    Fiber high = spawn({.name = "high", .scheduling_class = SchedulingClass::kHigh}, [&] { flag = true; });
    checkpoint();
    EXPECT_TRUE(flag);
    high.join();
  });
}

TEST(Checkpoint, OperationsThatNeverParkStillLetOthersRun) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<bool> flag{false};
  runtime->block_on([&] {
    Semaphore semaphore(1);
    Fiber other = spawn("other", [&] { flag = true; });
    const Deadline deadline = Deadline::after(20s);
    while (!flag && !deadline.passed()) {
      (void)semaphore.acquire();
      semaphore.release();
    }
    EXPECT_TRUE(flag);
    other.join();
  });
}

TEST(Checkpoint, InASimulationALoopOfCheckpointsSeesOthersAndTime) {
  Simulation simulation(4);
  ASSERT_TRUE(simulation
                  .run([] {
                    bool flag = false;
                    Fiber other = spawn("other", [&] {
                      (void)sleep_for(1ms);
                      flag = true;
                    });
                    while (!flag) checkpoint();
                    other.join();
                  })
                  .has_value());
}

}  // namespace
}  // namespace weft::sched
