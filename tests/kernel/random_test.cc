#include "kernel/random.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace weft {
namespace {

TEST(Random, SameSeedGivesTheSameNumbersForEver) {
  // Seed 0: SplitMix64's first four outputs are the state; these are what the published algorithm makes of them.
  Random random(0);
  EXPECT_EQ(random.next(), 0x99ec5f36cb75f2b4ULL);
  EXPECT_EQ(random.next(), 0xbf6e1f784956452aULL);
  EXPECT_EQ(random.next(), 0x1a5f849d4933e6e0ULL);
}

TEST(Random, BelowStaysBelowAndReachesAll) {
  Random random(7);
  std::array<int, 10> seen{};
  for (int i = 0; i < 10000; ++i) ++seen.at(random.below(10));
  for (const int count : seen) EXPECT_NEAR(count, 1000, 200);
  for (int i = 0; i < 100; ++i) {
    const auto value = random.between(5, 7);
    EXPECT_TRUE(value >= 5 && value <= 7);
    const double fraction = random.fraction();
    EXPECT_TRUE(fraction >= 0 && fraction < 1);
  }
  (void)random.between(0, ~0ULL);
}

TEST(Random, SplitStreamsDiffer) {
  Random one(1);
  Random two = one.split();
  EXPECT_NE(one.next(), two.next());
}

TEST(Entropy, SystemGivesDifferentNumbersAndASeededOneTheSame) {
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 100; ++i) seen.insert(system_entropy().next());
  EXPECT_EQ(seen.size(), 100U);
  SeededEntropy a(5);
  SeededEntropy b(5);
  EXPECT_EQ(a.next(), b.next());
  std::array<std::byte, 13> odd{};
  a.fill(odd);
  EXPECT_NE(odd, (std::array<std::byte, 13>{}));
}

}  // namespace
}  // namespace weft
