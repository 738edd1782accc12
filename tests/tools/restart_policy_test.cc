#include "tools/restart_policy.h"

#include <gtest/gtest.h>

namespace weft::tools {
namespace {

using namespace std::chrono_literals;

// How many deaths of that kind are followed by another server, up to `most`.
unsigned survived(const RestartPolicy::Death& death, unsigned most) {
  RestartPolicy policy;
  unsigned count = 0;
  while (count < most && policy.after(death)) ++count;
  return count;
}

TEST(RestartPolicy, AServerThatIsKilledIsReplacedForEverAndAtOnce) {
  EXPECT_EQ(survived({.served = true, .killed = true, .age = 1s}, 100000), 100000U);
  RestartPolicy policy;
  EXPECT_EQ(policy.after({.served = true, .killed = true, .age = 1s}), 0ms);
}

TEST(RestartPolicy, AServerThatCannotBeginIsGivenUp) {
  EXPECT_EQ(survived({.served = false, .killed = false, .age = 1ms}, 100), RestartPolicy::kMostDeaths - 1);
  EXPECT_EQ(survived({.served = false, .killed = true, .age = 1h}, 100), RestartPolicy::kMostDeaths - 1);
}

TEST(RestartPolicy, AServerThatFallsAgainAndAgainIsGivenUp) {
  EXPECT_EQ(survived({.served = true, .age = 100ms}, 100), RestartPolicy::kMostDeaths - 1);
  EXPECT_EQ(survived({.served = true, .age = 1h}, 100), 100U) << "once an hour is no reason";
}

TEST(RestartPolicy, AServerThatHangsAgainAndAgainIsGivenUpSooner) {
  EXPECT_EQ(survived({.served = true, .hung = true, .killed = true, .age = 10min}, 100), 1U);
}

TEST(RestartPolicy, ALongLifeMakesUpForDeathsBefore) {
  RestartPolicy policy;
  for (int round = 0; round < 10; ++round) {
    for (unsigned i = 1; i < RestartPolicy::kMostDeaths; ++i) EXPECT_TRUE(policy.after({.served = false}));
    EXPECT_TRUE(policy.after({.served = true, .age = 1min}));
  }
}

TEST(RestartPolicy, PausesGrowToABound) {
  RestartPolicy policy;
  auto last = 0ms, all = 0ms;
  while (const auto pause = policy.after({})) {
    EXPECT_GE(*pause, last);
    EXPECT_LE(*pause, RestartPolicy::kLongestPause);
    last = *pause;
    all += last;
  }
  EXPECT_GT(all, 3s);
  EXPECT_LT(all, 15s);
}

}  // namespace
}  // namespace weft::tools
