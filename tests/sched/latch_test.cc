#include "sched/latch.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "sched/barrier.h"
#include "sched/runtime.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(Latch, OpensForFibersAndThreadsWhenCountedDown) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Latch latch(10);
  std::atomic<int> arrived{0};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 9; ++i)
    fibers.push_back(runtime->spawn("arriver", [&] {
      ++arrived;
      latch.arrive_and_wait();
      EXPECT_EQ(arrived, 10);
    }));
  std::thread thread([&] {
    latch.wait();
    EXPECT_EQ(arrived, 10);
  });
  EXPECT_FALSE(latch.try_wait());
  EXPECT_EQ(latch.wait_until(Deadline::after(1ms)).error(), Errc::kTimedOut);
  ++arrived;
  latch.count_down();
  for (auto& fiber : fibers) fiber.join();
  thread.join();
  EXPECT_TRUE(latch.try_wait());
  EXPECT_TRUE(latch.wait_until(Deadline::after(0ms)).has_value());
}

TEST(Latch, AStopRequestEndsTheWaitThatReturnsAStatus) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Latch latch(1);
    Fiber waiter = spawn("waiter", [&] { EXPECT_EQ(latch.wait_until(Deadline::never()).error(), Errc::kCancelled); });
    yield();
    waiter.request_stop();
    waiter.join();
  });
}

TEST(Latch, MayBeDestroyedByTheOneItLetThrough) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  for (int round = 0; round < 2000; ++round) {
    auto latch = std::make_unique<Latch>(1);
    Fiber opener = runtime->spawn("opener", [inside = latch.get()] { inside->count_down(); });
    latch->wait();
    latch.reset();
    opener.join();
  }
}

// In each phase nobody is ahead of the completion, which sees all the work of the phase.
void meet(int fibers, int phases) {
  std::vector<int> done(static_cast<std::size_t>(fibers), 0);
  int completed = 0;
  const auto complete = [&] {
    yield();  // may park
    for (const int phase : done) EXPECT_EQ(phase, completed + 1);
    ++completed;
  };
  Barrier barrier(fibers, complete);
  std::vector<Fiber> running;
  for (int f = 0; f < fibers; ++f) {
    running.push_back(spawn("worker", [&, f] {
      for (int phase = 1; phase <= phases; ++phase) {
        done[static_cast<std::size_t>(f)] = phase;
        if (f % 2 == 0) {
          barrier.arrive_and_wait();
        } else {
          const auto token = barrier.arrive();
          yield();
          barrier.wait(token);
        }
        EXPECT_EQ(completed, phase);
      }
    }));
  }
  for (auto& fiber : running) fiber.join();
  EXPECT_EQ(completed, phases);
}

TEST(Barrier, CompletesEachPhaseOnceBeforeAnybodyGoesOn) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] { meet(4, 50); });
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Simulation simulation(seed);
    ASSERT_TRUE(simulation.run([seed] { meet(1 + static_cast<int>(seed % 4), 20); }).has_value()) << "seed " << seed;
  }
}

TEST(Barrier, FibersAndThreadsMeetManyTimes) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  constexpr int kPhases = 300;
  std::atomic<int> arrivals{0};
  std::atomic<int> completed{0};
  const auto complete = [&] {
    EXPECT_EQ(arrivals, 5 * (completed + 1));
    ++completed;
  };
  Barrier barrier(5, complete);
  const auto take_part = [&] {
    for (int phase = 1; phase <= kPhases; ++phase) {
      ++arrivals;
      barrier.arrive_and_wait();
      ASSERT_GE(completed, phase);
    }
  };
  std::vector<Fiber> fibers;
  for (int f = 0; f < 4; ++f) fibers.push_back(runtime->spawn("member", take_part));
  std::thread thread(take_part);
  for (auto& fiber : fibers) fiber.join();
  thread.join();
  EXPECT_EQ(completed, kPhases);
}

TEST(Barrier, OneThatDropsOutIsNotExpectedAgain) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Barrier barrier(2);
    Fiber other = spawn("other", [&] {
      barrier.arrive_and_wait();
      barrier.arrive_and_drop();
    });
    for (int phase = 0; phase < 10; ++phase) barrier.arrive_and_wait();
    other.join();
  });
}

TEST(Barrier, AWaitThatTimesOutHasArrivedEvenSo) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Barrier barrier(2);
    const auto token = barrier.arrive();
    EXPECT_EQ(barrier.wait_until(token, Deadline::after(1ms)).error(), Errc::kTimedOut);
    barrier.arrive_and_wait();
    EXPECT_TRUE(barrier.wait_until(token, Deadline::after(0ms)).has_value());
  });
}

}  // namespace
}  // namespace weft::sched
