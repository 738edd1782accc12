#include "sched/timers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

TEST(Timers, FireWhatIsDueAndForgetWhatWasDisarmed) {
  constexpr unsigned kSeed = 20240607;
  std::mt19937 random(kSeed);
  Timers timers;
  std::deque<TimerNode> nodes(500);
  std::deque<Waiter> waiters(500);
  std::vector<std::int64_t> at_ns(500);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    at_ns[i] = random() % 1000;
    timers.arm(nodes[i], at_ns[i], waiters[i]);
  }
  std::vector<bool> disarmed(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); i += 3) {
    timers.disarm(nodes[i]);
    timers.disarm(nodes[i]);  // twice does no harm
    disarmed[i] = true;
  }
  for (std::int64_t now = 0; now <= 1000; now += 50) {
    timers.fire(now);
    EXPECT_GT(timers.earliest(), now) << "seed " << kSeed;
    for (std::size_t i = 0; i < nodes.size(); ++i)
      EXPECT_EQ(waiters[i].resumed(), !disarmed[i] && at_ns[i] <= now) << "seed " << kSeed;
  }
  EXPECT_EQ(timers.earliest(), Timers::kNothing);
}

TEST(Timers, AMillionAreArmedFiredAndDisarmedInOrder) {
  constexpr unsigned kSeed = 99;
  constexpr std::size_t kCount = 1'000'000;
  std::minstd_rand random(kSeed);
  Timers timers;
  std::vector<TimerNode> nodes(kCount);
  std::vector<Waiter> waiters(kCount);
  std::vector<std::int64_t> at_ns(kCount);
  for (std::size_t i = 0; i < kCount; ++i) {
    at_ns[i] = static_cast<std::int64_t>(random() % 1'000'000'000) + 1;
    timers.arm(nodes[i], at_ns[i], waiters[i]);
  }
  for (std::size_t i = 0; i < kCount; i += 2) timers.disarm(nodes[i]);
  std::int64_t least = Timers::kNothing;
  for (std::size_t i = 1; i < kCount; i += 2) least = std::min(least, at_ns[i]);
  EXPECT_EQ(timers.earliest(), least);
  EXPECT_EQ(timers.fire(least), static_cast<std::size_t>(std::count(at_ns.begin(), at_ns.end(), least)));
  EXPECT_GT(timers.earliest(), least);
  timers.fire(1'000'000'000);
  EXPECT_EQ(timers.earliest(), Timers::kNothing);
  for (std::size_t i = 0; i < kCount; ++i) ASSERT_EQ(waiters[i].resumed(), i % 2 == 1) << "seed " << kSeed;
}

// Any mixture of new ones, which are not sorted yet, and older ones, which are, against a plain list of what is armed.
TEST(Timers, NoneIsLateOrEarlyOrForgottenWhateverWasDisarmedMeanwhile) {
  constexpr unsigned kSeed = 4711;
  constexpr std::size_t kCount = 4000;
  std::mt19937 random(kSeed);
  Timers timers;
  std::deque<TimerNode> nodes(kCount);
  std::deque<Waiter> waiters(kCount);
  std::vector<std::int64_t> at_ns(kCount);
  std::vector<std::size_t> armed;
  std::size_t disarmed_fresh = 0;
  std::size_t disarmed_sorted = 0;
  std::int64_t now = 0;
  const auto least = [&] {
    return std::accumulate(armed.begin(), armed.end(), Timers::kNothing,
                           [&](std::int64_t before, std::size_t i) { return std::min(before, at_ns[i]); });
  };
  for (std::size_t next = 0; next < kCount; ++next) {
    at_ns[next] = now + 1 + static_cast<std::int64_t>(random() % 3000);
    timers.arm(nodes[next], at_ns[next], waiters[next]);
    armed.push_back(next);
    while (!armed.empty() && random() % 2 == 0) {
      // More often one of the newest.
      const std::size_t back = random() % (random() % 4 == 0 ? armed.size() : std::min<std::size_t>(armed.size(), 8));
      const auto chosen = armed.end() - 1 - static_cast<std::ptrdiff_t>(back);
      ++(next - *chosen < 8 ? disarmed_fresh : disarmed_sorted);
      timers.disarm(nodes[*chosen]);
      at_ns[*chosen] = Timers::kNothing;
      armed.erase(chosen);
    }
    ASSERT_LE(timers.not_before(), least()) << "seed " << kSeed;
    ASSERT_EQ(timers.any_due(now), false) << "seed " << kSeed;
    if (random() % 4 == 0) {
      ASSERT_EQ(timers.earliest(), least()) << "seed " << kSeed;
    }
    if (random() % 8 != 0) continue;
    now += static_cast<std::int64_t>(random() % 1500);
    const auto due = std::partition(armed.begin(), armed.end(), [&](std::size_t i) { return at_ns[i] > now; });
    ASSERT_EQ(timers.any_due(now), due != armed.end()) << "seed " << kSeed;
    ASSERT_EQ(timers.fire(now), static_cast<std::size_t>(armed.end() - due)) << "seed " << kSeed;
    for (auto one = due; one != armed.end(); ++one) ASSERT_TRUE(waiters[*one].resumed()) << "seed " << kSeed;
    armed.erase(due, armed.end());
    std::sort(armed.begin(), armed.end());
    for (const std::size_t i : armed) ASSERT_FALSE(waiters[i].resumed()) << "seed " << kSeed;
  }
  EXPECT_GT(disarmed_fresh, kCount / 8);
  EXPECT_GT(disarmed_sorted, kCount / 20);
}

TEST(Timers, WhatWasDisarmedLongBeforeItWasDueIsNotWaitedFor) {
  Timers timers;
  TimerNode kept;
  TimerNode left;
  Waiter waiter;
  Waiter other;
  timers.arm(kept, 1000, waiter);
  timers.arm(left, 10, other);
  timers.disarm(left);
  EXPECT_FALSE(timers.any_due(10));
  EXPECT_EQ(timers.earliest(), 1000);
  timers.disarm(kept);
  EXPECT_EQ(timers.earliest(), Timers::kNothing);
  EXPECT_EQ(timers.not_before(), Timers::kNothing);
}

// More than are kept unsorted, of drawn times with many alike.
TEST(Timers, WaitsEndInTheOrderOfTheirTimesAndAmongAlikeOfTheirArming) {
  constexpr unsigned kSeed = 31;
  constexpr std::size_t kCount = 3 * Timers::kMostFresh + 7;
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime);
  std::vector<std::pair<std::int64_t, std::size_t>> armed;
  std::vector<std::pair<std::int64_t, std::size_t>> woken;
  runtime->block_on([&] {
    Timers timers;
    std::minstd_rand random(kSeed);
    std::vector<Fiber> all;
    all.reserve(kCount);
    for (std::size_t i = 0; i < kCount; ++i) {
      all.push_back(spawn("waits", [&, at_ns = static_cast<std::int64_t>(random() % 16)] {
        const auto self = armed.emplace_back(at_ns, armed.size());
        TimerNode node;
        Waiter waiter;
        timers.arm(node, at_ns, waiter);
        if (waiter.park("a test's timer") == Outcome::kTimedOut) woken.push_back(self);
      }));
    }
    while (armed.size() < kCount) yield();
    EXPECT_EQ(timers.fire(16), kCount);
    for (Fiber& fiber : all) fiber.join();
  });
  ASSERT_EQ(woken.size(), kCount);
  std::sort(armed.begin(), armed.end());
  // The one woken last is the next to run (worker.h).
  std::rotate(woken.begin(), woken.begin() + 1, woken.end());
  EXPECT_EQ(woken, armed) << "seed " << kSeed;
}

TEST(Timers, AWaiterThatSomebodyElseClaimedIsLeftAlone) {
  Timers timers;
  TimerNode node;
  Waiter waiter;
  timers.arm(node, 5, waiter);
  ASSERT_TRUE(waiter.claim(Outcome::kNotified));
  EXPECT_EQ(timers.fire(10), 0U);
  EXPECT_FALSE(waiter.resumed());
}

}  // namespace
}  // namespace weft::sched
