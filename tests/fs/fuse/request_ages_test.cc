// How old the oldest request is, in periods.
#include "fs/fuse/request_ages.h"

#include <gtest/gtest.h>

#include <optional>

namespace weft::fs::fuse {
namespace {

TEST(RequestAges, CountsWhatHasBeenUnderWayForAllPeriods) {
  RequestAges ages;
  for (unsigned start = 0; start < RequestAges::kPeriods; ++start) {
    std::optional<RequestAges::Entry> hangs(std::in_place, ages);
    for (unsigned i = 0; i + 1 < RequestAges::kPeriods; ++i) {
      const RequestAges::Entry quick(ages);
      EXPECT_EQ(ages.next_period(), 0U) << start << " " << i;
    }
    EXPECT_EQ(ages.next_period(), 1U);
    hangs.reset();
    EXPECT_EQ(ages.next_period(), 0U);
  }
}

TEST(RequestAges, AStreamOfShortOnesIsNeverOld) {
  RequestAges ages;
  for (int i = 0; i < 100; ++i) {
    {
      const RequestAges::Entry entry(ages);
    }
    EXPECT_EQ(ages.next_period(), 0U);
  }
}

}  // namespace
}  // namespace weft::fs::fuse
