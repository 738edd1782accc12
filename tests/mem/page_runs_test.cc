#include "mem/page_runs.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

using test::invariants_hold;

TEST(PageRuns, NeighboursThatAreFreeBecomeOneRun) {
  Descriptor* whole = page_runs.allocate(300, Kind::kOwn).first;
  const std::size_t first = unit_of(*whole);
  page_runs.free(*whole);
  std::vector<Descriptor*> parts;
  parts.reserve(30);
  for (int i = 0; i < 30; ++i) parts.push_back(page_runs.allocate(10, Kind::kOwn).first);
  for (std::size_t i = 0; i < parts.size(); i += 2) page_runs.free(*parts[i]);
  EXPECT_TRUE(invariants_hold());
  for (std::size_t i = 1; i < parts.size(); i += 2) page_runs.free(*parts[i]);
  EXPECT_TRUE(invariants_hold());
  Descriptor* again = page_runs.allocate(300, Kind::kOwn).first;
  EXPECT_EQ(unit_of(*again), first) << "the thirty parts are one run again";
  page_runs.free(*again);
}

TEST(PageRuns, WhatWasPurgedReadsAsZeroAndIsKnownTo) {
  Descriptor* run = page_runs.allocate(4, Kind::kOwn).first;
  test::fill(start_of(*run), 4 * kUnitBytes, 1);
  page_runs.free(*run);
  page_runs.purge_to(0);
  const PageRuns::Run clean = page_runs.allocate(4, Kind::kOwn);
  EXPECT_TRUE(clean.zero);
  for (std::size_t i = 0; i < 4 * kUnitBytes; ++i) ASSERT_EQ(start_of(*clean.first)[i], std::byte{0});
  page_runs.free(*clean.first);
  const PageRuns::Run dirty = page_runs.allocate(4, Kind::kOwn);
  EXPECT_FALSE(dirty.zero);
  page_runs.free(*dirty.first);
}

TEST(PageRuns, PurgesNoMoreThanItMust) {
  page_runs.purge_to(0);
  Descriptor* run = page_runs.allocate(50, Kind::kOwn).first;
  page_runs.free(*run);
  EXPECT_EQ(page_runs.purge_to(20), 30U);
  EXPECT_EQ(page_runs.dirty_units(), 20U);
  EXPECT_TRUE(invariants_hold());
}

TEST(PageRuns, AlignedRunsLeaveWhatTheySkipFree) {
  std::vector<Descriptor*> runs;
  runs.reserve(12);
  for (std::size_t align = kUnitBytes; align <= 64 << 20; align *= 2) {
    runs.push_back(page_runs.allocate(3, Kind::kOwn, align).first);
    ASSERT_EQ(reinterpret_cast<std::uintptr_t>(start_of(*runs.back())) % align, 0U);
  }
  EXPECT_TRUE(invariants_hold());
  for (Descriptor* run : runs) page_runs.free(*run);
  EXPECT_TRUE(invariants_hold());
}

TEST(PageRuns, RandomRunsFitTogether) {
  const std::uint64_t seed = test::test_seed(4);
  Random random(seed);
  std::vector<Descriptor*> runs(100, nullptr);
  for (int i = 0; i < 20000; ++i) {
    Descriptor*& run = runs[random.below(runs.size())];
    if (run == nullptr) {
      run = page_runs.allocate(1 + random.below(random.one_in(10) ? 500 : 40), Kind::kOwn).first;
    } else if (random.one_in(4)) {
      page_runs.shrink(*run, 1 + random.below(run->units));
    } else if (random.one_in(4)) {
      page_runs.grow(*run, run->units + 1 + random.below(30));
    } else {
      page_runs.free(*run);
      run = nullptr;
    }
    if (random.one_in(500)) page_runs.purge_to(random.below(100));
    if (i % 1000 == 0) {
      ASSERT_TRUE(invariants_hold()) << "seed " << seed << ", step " << i;
    }
  }
  for (Descriptor* run : runs) {
    if (run != nullptr) page_runs.free(*run);
  }
  EXPECT_TRUE(invariants_hold());
}

}  // namespace
}  // namespace weft::mem
