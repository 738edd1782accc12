#include "mem/poisson.h"

#include <gtest/gtest.h>

#include <cmath>

namespace weft::mem {
namespace {

TEST(Poisson, TheLogarithmIsThatOfTheMathematicalLibrary) {
  SampleRandom random(7);
  for (int i = 0; i < 10000; ++i) {
    const std::uint64_t bits = random.next() >> i % 64;
    if (bits == UINT64_MAX) continue;
    const double u = (static_cast<double>(bits) + 1) * 0x1p-64;
    ASSERT_NEAR(negative_log(bits), -std::log(u), 1e-9 * (1 - std::log(u))) << bits;
  }
  EXPECT_EQ(negative_log(UINT64_MAX), 0);
}

TEST(Poisson, DistancesHaveTheirMeanAndDeviation) {
  constexpr std::size_t kMean = 524288;
  constexpr int kDraws = 200000;
  SampleRandom random(11);
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const auto each = static_cast<double>(distance(random, kMean));
    sum += each;
    squares += each * each;
  }
  const double mean = sum / kDraws;
  EXPECT_NEAR(mean / kMean, 1, 0.01);
  // That of an exponential distribution is its mean.
  EXPECT_NEAR(std::sqrt(squares / kDraws - mean * mean) / kMean, 1, 0.02);
}

TEST(Poisson, ASampleStandsForTheInverseOfItsChance) {
  for (const double bytes : {8.0, 100.0, 5000.0, 524288.0, 3e6, 1e9}) {
    EXPECT_NEAR(stands_for(bytes, 524288) * -std::expm1(-bytes / 524288), 1, 1e-9) << bytes;
  }
  EXPECT_EQ(stands_for(8, 1), 1);
}

}  // namespace
}  // namespace weft::mem
