#include "sched/timers.h"

#include <gtest/gtest.h>

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
  for (std::size_t i = 0; i < nodes.size(); ++i) timers.arm(nodes[i], random() % 1000, waiters[i]);
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
      EXPECT_EQ(waiters[i].resumed(), !disarmed[i] && nodes[i].at_ns <= now) << "seed " << kSeed;
  }
  EXPECT_EQ(timers.earliest(), Timers::kNothing);
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
