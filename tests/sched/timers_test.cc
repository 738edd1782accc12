#include "sched/timers.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <vector>

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
