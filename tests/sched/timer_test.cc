#include "sched/timer.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "sched/runtime.h"
#include "sched/select.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

void simulate(std::move_only_function<void()> body) {
  Simulation simulation(4);
  const Status ended = simulation.run(std::move(body));
  EXPECT_TRUE(ended.has_value()) << ended.error().message();
}

TEST(Timer, RunsOnceAtItsTime) {
  simulate([] {
    std::vector<std::chrono::nanoseconds> at;
    {
      Timer timer("once", Deadline::after(5s), [&] { at.push_back(now()); });
      (void)sleep_for(4s);
      EXPECT_TRUE(at.empty());
      (void)sleep_for(10s);
    }
    EXPECT_EQ(at, (std::vector<std::chrono::nanoseconds>{5s}));
  });
}

TEST(Timer, APeriodDoesNotDriftAndLeavesOutWhatHasPassed) {
  simulate([] {
    std::vector<std::chrono::nanoseconds> at;
    Timer timer("periodic", Deadline::after(10s), 10s, [&] {
      at.push_back(now());
      (void)sleep_for(at.size() == 2 ? 25s : 3s);
    });
    (void)sleep_for(65s);
    timer.cancel();
    EXPECT_EQ(at, (std::vector<std::chrono::nanoseconds>{10s, 20s, 50s, 60s}));
  });
}

TEST(Timer, AfterCancelTheCallbackNeitherRunsNorWill) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Simulation simulation(seed);
    ASSERT_TRUE(simulation
                    .run([seed] {
                      bool cancelled = false;
                      bool running = false;
                      Timer timer("racing", Deadline::after(10ns), 10ns, [&] {
                        EXPECT_FALSE(cancelled);
                        running = true;
                        (void)sleep_for(3ns);
                        EXPECT_FALSE(cancelled);
                        running = false;
                      });
                      (void)sleep_for(std::chrono::nanoseconds(seed % 40));
                      timer.cancel();
                      cancelled = true;
                      EXPECT_FALSE(running);
                      (void)sleep_for(1s);
                    })
                    .has_value())
        << "seed " << seed;
  }
}

TEST(Timer, MayBeCancelledOrDestroyedFromItsCallback) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  const auto check = [] {
    std::atomic<int> ran{0};
    std::atomic<bool> gone{false};
    std::atomic<bool> stands{false};
    auto timer = std::make_unique<std::optional<Timer>>();
    timer->emplace("suicidal", Deadline::after(2ms), 1ms, [&] {
      while (!stands) (void)sleep_for(1ms);
      ++ran;
      (*timer)->cancel();
      timer->reset();
      gone = true;
    });
    stands = true;
    const Deadline limit = Deadline::after(20s);
    while (!gone && !limit.passed()) (void)sleep_for(1ms);
    (void)sleep_for(5ms);
    EXPECT_EQ(ran, 1);
  };
  runtime->block_on(check);
  check();  // on threads
}

TEST(Ticker, CountsFromTheFirstTimeAndServesASelect) {
  simulate([] {
    Ticker ticker(10s);
    ASSERT_TRUE(ticker.wait().has_value());
    EXPECT_EQ(now(), 10s);
    (void)sleep_for(25s);
    ASSERT_TRUE(ticker.wait().has_value()) << "late: at once";
    EXPECT_EQ(now(), 35s);
    EXPECT_EQ(ticker.next(), Deadline(40s));
    Channel<int> silent(0);
    EXPECT_EQ(select(ticker.next(), on_receive(silent, [](const Result<int>&) {})).error(), Errc::kTimedOut);
    EXPECT_EQ(now(), 40s);
    ticker.advance();
    EXPECT_EQ(ticker.next(), Deadline(50s));
  });
}

}  // namespace
}  // namespace weft::sched
