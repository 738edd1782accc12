#include "sched/fork_join.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sched/channel.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

long fib(int n) {
  if (n < 2) return n;
  Fork left([n] { return fib(n - 1); });
  const long right = fib(n - 2);
  return left.join() + right;
}

template <typename Test>
auto on_workers(unsigned workers, Test&& test) {
  auto runtime = Runtime::create({.workers = workers});
  EXPECT_TRUE(runtime.has_value());
  return runtime->block_on(test);
}

TEST(ForkJoin, GivesTheRightResultOnAnyNumberOfWorkersAndOnAPlainThread) {
  EXPECT_EQ(fib(15), 610);
  for (const unsigned workers : {1U, 2U, 4U}) EXPECT_EQ(on_workers(workers, [] { return fib(19); }), 4181);
}

TEST(ForkJoin, AForkThatNobodyTakesIsACallOnTheSameFiber) {
  on_workers(1, [] {
    const std::thread::id thread = std::this_thread::get_id();
    const void* frame = nullptr;
    Fork fork([&] {
      EXPECT_EQ(std::this_thread::get_id(), thread);
      frame = __builtin_frame_address(0);
      return std::make_unique<int>(5);
    });
    EXPECT_EQ(*fork.join(), 5);
    const auto distance = static_cast<const char*>(__builtin_frame_address(0)) - static_cast<const char*>(frame);
    EXPECT_LT(distance < 0 ? -distance : distance, 64 * 1024);
  });
}

TEST(ForkJoin, AnIdleWorkerTakesAForkWhileItsParentWorks) {
  on_workers(2, [] {
    std::atomic<bool> ran{false};
    Fork fork([&] { ran = true; });
    const Deadline limit = Deadline::after(5s);
    while (!ran && !limit.passed()) {}
    EXPECT_TRUE(ran);
    fork.join();
  });
}

// On one worker: the parent waits for what only its fork sends, before it joins it.
TEST(ForkJoin, ForksRunWhenTheirParentParksFirst) {
  on_workers(1, [] {
    Channel<int> channel(1);
    Fork first([&] { (void)channel.send(1); });
    Fork second([&] { (void)channel.send(2); });
    EXPECT_EQ(*channel.receive(Deadline::after(5s)) + *channel.receive(Deadline::after(5s)), 3);
    second.join();
    first.join();
  });
}

TEST(ForkJoin, ForksJoinedOutOfOrderAllRunAndSeeNoneOfTheOthersFrames) {
  on_workers(2, [] {
    for (int i = 0; i < 200; ++i) {
      std::atomic<int> ran{0};
      Semaphore first_is_joined(0);
      Fork a([&] { return ran.fetch_add(1) * 0 + 1; });
      // Would wait for ever if it were called by the join of the other.
      Fork b([&] {
        (void)first_is_joined.acquire();
        return ran.fetch_add(1) * 0 + 2;
      });
      EXPECT_EQ(a.join(), 1);
      first_is_joined.release();
      EXPECT_EQ(b.join(), 2);
      ASSERT_EQ(ran, 2);
    }
  });
}

TEST(ForkJoin, AnExceptionComesOutOfTheJoinWhereverTheForkRan) {
  on_workers(2, [] {
    for (int i = 0; i < 200; ++i) {
      std::atomic<bool> begun{false};
      Fork fork([&]() -> int {
        begun = true;
        throw i;
      });
      // Every other time it is given the time to be taken.
      const Deadline limit = Deadline::after(i % 2 == 0 ? 0us : 300us);
      while (!begun && !limit.passed()) {}
      try {
        (void)fork.join();
        ADD_FAILURE() << "nothing thrown";
      } catch (int thrown) {
        EXPECT_EQ(thrown, i);
      }
    }
  });
}

TEST(ForkJoin, AForkLeftByAnExceptionIsNotRunOrIsStoppedAndAwaited) {
  on_workers(2, [] {
    int cancelled = 0;
    for (int i = 0; i < 60; ++i) {
      std::atomic<int> state{0};
      try {
        Fork fork([&] {
          state = 1;
          if (!sleep_for(1h).has_value()) ++cancelled;
          state = 2;
        });
        const Deadline limit = Deadline::after(i % 2 == 0 ? 0us : 500us);
        while (state == 0 && !limit.passed()) {}
        throw std::runtime_error("on the way to the join");
      } catch (const std::runtime_error&) {
        EXPECT_NE(state, 1);
      }
    }
    RecordProperty("cancelled", cancelled);
  });
}

TEST(ForkJoin, AStopRequestReachesAForkThatRunsElsewhere) {
  on_workers(2, [] {
    for (int i = 0; i < 20; ++i) {
      std::atomic<bool> begun{false};
      std::atomic<bool> stopped{false};
      Fiber parent = spawn("parent", [&] {
        Fork fork([&] {
          begun = true;
          stopped = !sleep_for(1h).has_value();
        });
        fork.join();
      });
      while (!begun) (void)sleep_for(50us);
      parent.request_stop();
      parent.join();
      EXPECT_TRUE(stopped);
    }
  });
}

TEST(ForkJoin, BodiesMayParkAndMigrate) {
  on_workers(3, [] {
    std::atomic<int> sum{0};
    parallel_for(0, 200, 1, [&](int i) {
      if (i % 3 == 0) yield();
      if (i % 7 == 0) (void)sleep_for(std::chrono::microseconds(i));
      EXPECT_EQ(fib(8), 21);
      sum += i;
    });
    EXPECT_EQ(sum, 199 * 100);
  });
}

TEST(ParallelFor, VisitsEachIndexOnceWhateverTheGrainAndType) {
  on_workers(2, [] {
    for (const int grain : {0, 1, 3, 1000}) {
      std::vector<std::atomic<int>> visits(777);
      parallel_for(0, 777, grain, [&](int i) { visits[static_cast<std::size_t>(i)].fetch_add(1); });
      for (auto& count : visits) ASSERT_EQ(count, 1);
    }
    std::atomic<int> small{0};
    parallel_for<std::int8_t>(-128, 127, 5, [&](std::int8_t) { small.fetch_add(1); });
    EXPECT_EQ(small, 255);
    std::atomic<int> few{0};
    constexpr auto kEnd = std::numeric_limits<std::uint64_t>::max();
    parallel_for<std::uint64_t>(kEnd - 3, kEnd, 1, [&](std::uint64_t) { few.fetch_add(1); });
    EXPECT_EQ(few, 3);
    parallel_for(5, 5, 1, [](int) { ADD_FAILURE() << "an empty range"; });
    parallel_for(5, 4, 1, [](int) { ADD_FAILURE() << "an empty range"; });
  });
}

TEST(ParallelFor, StopsAtAnException) {
  on_workers(2, [] {
    std::atomic<int> visited{0};
    EXPECT_THROW(parallel_for(0, 100'000, 10,
                              [&](int i) {
                                visited.fetch_add(1);
                                if (i == 500) throw std::runtime_error("enough");
                              }),
                 std::runtime_error);
    EXPECT_LT(visited, 100'000);
  });
}

TEST(ParallelInvoke, RunsAll) {
  std::string text = "___";
  const auto fill = [&] { parallel_invoke([&] { text[0] = 'a'; }, [&] { text[1] = 'b'; }, [&] { text[2] = 'c'; }); };
  fill();
  EXPECT_EQ(text, "abc");
  text = "___";
  on_workers(2, fill);
  EXPECT_EQ(text, "abc");
}

TEST(ForkJoin, InASimulationEachForkIsAFiberAndTheSeedReplays) {
  const auto run = [](std::uint64_t seed) {
    Simulation simulation(seed);
    long result = 0;
    std::string order;
    EXPECT_TRUE(simulation
                    .run([&] {
                      parallel_invoke([&] { order += 'a'; }, [&] { order += 'b'; }, [&] { order += 'c'; });
                      result = fib(7);
                    })
                    .has_value());
    EXPECT_EQ(result, 13);
    return order + "\n" + simulation.trace();
  };
  EXPECT_EQ(run(3), run(3));
  bool differs = false;
  for (std::uint64_t seed = 4; seed < 30 && !differs; ++seed) differs = run(seed).substr(0, 3) != run(3).substr(0, 3);
  EXPECT_TRUE(differs);
}

// Thieves, owners that park between fork and join, and nested forks, for as long as the rounds last.
TEST(ForkJoin, ManyFibersForkAtOnceAndLoseNothing) {
  on_workers(4, [] {
    std::atomic<long> sum{0};
    std::vector<Fiber> fibers;
    for (int f = 0; f < 8; ++f) {
      fibers.push_back(spawn("forks", [&, f] {
        for (int i = 0; i < 40; ++i) {
          Fork left([] { return fib(9); });
          if ((i + f) % 4 == 0) yield();
          Fork right([i] {
            if (i % 5 == 0) yield();
            return fib(8);
          });
          if ((i + f) % 9 == 0) (void)sleep_for(5us);
          sum += right.join();
          sum += left.join();
        }
      }));
    }
    for (Fiber& fiber : fibers) fiber.join();
    EXPECT_EQ(sum, 8L * 40 * (34 + 21));
  });
}

}  // namespace
}  // namespace weft::sched
