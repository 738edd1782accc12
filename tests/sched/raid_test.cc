// tests/sched/raid_test.cc - what a worker keeps for itself is taken by another when a fiber holds the worker, and run once.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <vector>

#include "sched/runtime.h"
#include "sched/semaphore.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

// Wakers that compute between wake-ups, for about as long as an idle worker looks about before it takes what is kept: so it takes
// while the owner takes, displaces and puts.
TEST(Raid, EachWakeUpRunsOnceWhileOwnersAndRaidersMeet) {
  constexpr unsigned kSeed = 5;
  constexpr int kPartners = 3;
  constexpr int kRounds = 1500;
  auto runtime = Runtime::create({.workers = 3, .idle_spin = 4us});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<int> turns{0};
  runtime->block_on([&] {
    std::vector<Fiber> wakers;
    for (unsigned w = 0; w < 2; ++w) {
      wakers.push_back(spawn("waker", [&turns, w] {
        std::minstd_rand random(kSeed + w);
        Semaphore go(0);
        Semaphore done(0);
        std::vector<Fiber> partners;
        for (int p = 0; p < kPartners; ++p) {
          partners.push_back(spawn("partner", [&] {
            for (int i = 0; i < kRounds; ++i) {
              ASSERT_TRUE(go.acquire(1, Deadline::after(60s)).has_value());
              turns.fetch_add(1);
              done.release();
            }
          }));
        }
        for (int i = 0; i < kRounds; ++i) {
          for (int p = 0; p < kPartners; ++p) {
            go.release();
            const Deadline busy = Deadline::after(std::chrono::nanoseconds(random() % 12'000));
            while (!busy.passed()) {}
          }
          ASSERT_TRUE(done.acquire(kPartners, Deadline::after(60s)).has_value());
        }
        for (Fiber& partner : partners) partner.join();
      }));
    }
    for (Fiber& waker : wakers) waker.join();
  });
  EXPECT_EQ(turns, 2 * kPartners * kRounds);
}

}  // namespace
}  // namespace weft::sched
