#include "sched/stop.h"

#include <gtest/gtest.h>

#include <atomic>
#include <optional>
#include <vector>

#include "sched/channel.h"
#include "sched/condition_variable.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(StopToken, IsTriggeredByWhoeverAsksTheFiberToStop) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<int> called{0};
  Fiber fiber = runtime->spawn("asked", [&] {
    const std::stop_token token = stop_token();
    EXPECT_TRUE(token.stop_possible());
    EXPECT_EQ(token, stop_token()) << "one for the whole life";
    const std::stop_callback count(token, [&] { ++called; });
    EXPECT_EQ(sleep_until(Deadline::never()).error(), Errc::kCancelled);
    EXPECT_TRUE(token.stop_requested());
    EXPECT_TRUE(stop_requested());
  });
  std::this_thread::sleep_for(1ms);
  fiber.request_stop();
  fiber.join();
  EXPECT_EQ(called, 1);
}

TEST(StopToken, AskedForAfterTheRequestIsTriggeredAlready) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Fiber fiber = spawn("late", [] {
      EXPECT_TRUE(stop_token().stop_requested());
      bool called = false;
      const std::stop_callback at_once(stop_token(), [&] { called = true; });
      EXPECT_TRUE(called);
    });
    fiber.request_stop();
    fiber.join();
  });
}

TEST(StopToken, OfAPlainThreadIsNeverTriggered) { EXPECT_FALSE(stop_token().stop_possible()); }

TEST(StopToken, ACallbackMayCloseAndNotify) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Simulation simulation(seed);
    const Status ended = simulation.run([] {
      Channel<int> jobs(1);
      Fiber worker = spawn("worker", [&] {
        while (jobs.receive()) {}
      });
      Fiber asked = spawn("asked", [&] {
        const std::stop_callback close(stop_token(), [&] { jobs.close(); });
        (void)sleep_for(1us);
      });
      (void)jobs.send(1);
      asked.request_stop();
      asked.join();
      jobs.close();
      worker.join();
    });
    ASSERT_TRUE(ended.has_value()) << "seed " << seed << ": " << ended.error().message();
  }
}

TEST(StopSource, GivenToSpawnStopsTheFibers) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    for (int round = 0; round < 100; ++round) {
      std::stop_source source;
      Semaphore never(0);
      std::vector<Fiber> fibers;
      for (int f = 0; f < 4; ++f)
        fibers.push_back(spawn(source.get_token(), "member", [&] {
          EXPECT_EQ(never.acquire().error(), Errc::kCancelled);
          EXPECT_TRUE(stop_requested());
        }));
      if (round % 2 == 0) yield();
      source.request_stop();
      for (auto& fiber : fibers) fiber.join();
    }
  });
}

TEST(StopSource, IsForgottenWhenTheFiberHasEnded) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  std::stop_source source;
  runtime->block_on([&] { spawn(source.get_token(), "ended", [] {}).join(); });
  source.request_stop();  // must not touch what is gone
}

// Requests, tokens, callbacks and ends, all at once.
TEST(StopToken, Stress) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<int> called{0};
  runtime->block_on([&] {
    for (int round = 0; round < 1000; ++round) {
      std::stop_source source;
      Fiber fiber = spawn(source.get_token(), "victim", [&] {
        const std::stop_callback count(stop_token(), [&] { ++called; });
        if (round % 3 == 0) (void)sleep_until(Deadline::never());
        yield();
      });
      Fiber first = spawn("first", [&] { source.request_stop(); });
      Fiber second = spawn("second", [&] { fiber.request_stop(); });
      second.join();
      first.join();
      fiber.join();
    }
  });
  EXPECT_LE(called, 1000);
  EXPECT_GE(called, 334);
}

}  // namespace
}  // namespace weft::sched
