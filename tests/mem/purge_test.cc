#include "mem/purge.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "mem/allocate.h"
#include "mem/page_runs.h"
#include "mem/segment.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

// Of the heap's blocks alone: a sanitizer's shadow of them, for one, is not given back with them.
std::size_t resident_bytes() {
  std::size_t pages = 0;
  for (std::size_t i = 0; i < segment_count.load(); ++i) {
    std::vector<unsigned char> there(segments[i].frontier * (kUnitBytes / kPageBytes));
    EXPECT_EQ(mincore(segments[i].base, there.size() * kPageBytes, there.data()), 0);
    pages +=
        static_cast<std::size_t>(std::count_if(there.begin(), there.end(), [](auto page) { return (page & 1) != 0; }));
  }
  return pages * kPageBytes;
}

TEST(PurgePolicy, KeepsAMegabyteOrAnEighth) {
  const PurgePolicy policy;
  EXPECT_EQ(policy.budget(0), PurgePolicy::kLeastUnits);
  EXPECT_EQ(policy.budget(80000), 10000U);
}

TEST(PurgePolicy, ARegrettedPurgeRaisesTheBudgetUpToThePeak) {
  PurgePolicy policy;
  policy.took_clean(10000, 10000);
  policy.released(20000);
  EXPECT_EQ(policy.budget(0), PurgePolicy::kLeastUnits) << "new memory is not regretted";
  policy.purged(9000);
  policy.took_clean(400, 9000);
  EXPECT_EQ(policy.budget(9000), 1600U) << "four times as much";
  EXPECT_EQ(policy.budget(4000), 1000U) << "up to a quarter of what is live";
  policy.took_clean(8600, 9000);
  EXPECT_EQ(policy.budget(6000), 4000U) << "else as much as brings it to the peak, of 10000";
  EXPECT_EQ(policy.budget(4000), 4000U) << "or as is live";
  EXPECT_EQ(policy.budget(0), PurgePolicy::kMostIdle) << "or than may be left when all is freed";
}

TEST(PurgePolicy, WhoFreesAndTakesByTurnsKeepsWhatItFreed) {
  PurgePolicy policy;
  policy.took_clean(10000, 10000);
  for (int turn = 0; turn < 3; ++turn) {
    policy.released(2000);
    EXPECT_EQ(policy.budget(8000), 2000U);
    policy.took(1000);
  }
  policy.released(2000);
  EXPECT_EQ(policy.budget(6000), 750U) << "more than a quarter of what is live was freed in a row";
  policy.took(1500);
  EXPECT_EQ(policy.budget(7500), 2500U) << "it takes again";
}

TEST(PurgePolicy, WhatASmallProgramFreesStaysUpToHalfOfWhatMayBeIdle) {
  PurgePolicy policy;
  policy.took_clean(3000, 3000);
  policy.released(PurgePolicy::kMostIdle / 2);
  EXPECT_EQ(policy.budget(0), PurgePolicy::kMostIdle);
  policy.released(1);
  EXPECT_EQ(policy.budget(0), PurgePolicy::kLeastUnits);
}

TEST(PurgePolicy, DemandFades) {
  PurgePolicy policy;
  policy.purged(10000);
  policy.took_clean(10000, 10000);
  for (unsigned long ms = 1000; ms < 20000; ms += 250) policy.tick(ms, 0);
  EXPECT_EQ(policy.budget(0), PurgePolicy::kLeastUnits);
}

TEST(Purge, FreedMemoryGoesBackWithoutBeingAsked) {
  // Two threads, a third of a gigabyte in small and large blocks, and then nothing. Whatever tests before this one made the heap
  // expect is over after a while.
  page_runs.forget_demand();
  const std::size_t before = resident_bytes();
  {
    std::vector<std::jthread> threads;
    threads.reserve(2);
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([] {
        std::vector<void*> blocks;
        blocks.reserve(300000);
        for (int i = 0; i < 250000; ++i) blocks.push_back(allocate_zeroed(1, 500));
        for (int i = 0; i < 100; ++i) blocks.push_back(allocate_zeroed(1, 300000));
        for (void* block : blocks) release(block);
      });
    }
  }
  // The second thread may have needed again what the first had given back: a tenth stays at most.
  EXPECT_LT(resident_bytes(), before + (30 << 20));
  EXPECT_TRUE(test::invariants_hold());
}

TEST(Purge, AProgramThatGoesUpAndDownKeepsItsPages) {
  const auto cycle = [] {
    void* block = allocate(20 << 20);
    for (std::size_t i = 0; i < 20 << 20; i += 4096) static_cast<volatile char*>(block)[i] = 1;
    release(block);
  };
  const auto kept = [] { return page_runs.dirty_units() * kUnitBytes >= std::size_t{15} << 20; };
  // It takes a few mistakes to learn, and a machine that stands still for a while makes it forget.
  for (int i = 0; i < 200 && (i < 12 || !kept()); ++i) cycle();
  EXPECT_GE(page_runs.dirty_units() * kUnitBytes, std::size_t{15} << 20);
  EXPECT_GE(resident_bytes(), std::size_t{15} << 20);
  trim(0);
  EXPECT_EQ(page_runs.dirty_units(), 0U);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(Purge, IdleGivesBackAsMuchAsItMay) {
  trim(0);
  // Within the budget: it stays until somebody is idle.
  release(allocate_zeroed(60, kUnitBytes));
  const std::size_t dirty = page_runs.dirty_units();
  ASSERT_GE(dirty, 60U);
  // What is due after a while is not counted against it.
  EXPECT_GE(heap_idle(4 * kUnitBytes), 4 * kUnitBytes);
  EXPECT_LE(page_runs.dirty_units(), dirty - 4);
  heap_idle(std::size_t{1} << 30);
  EXPECT_EQ(page_runs.dirty_units(), 0U);
}

}  // namespace
}  // namespace weft::mem
