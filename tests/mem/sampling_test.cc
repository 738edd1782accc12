#include "mem/sampling.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/profile.h"
#include "mem/sampled_blocks.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"
#include "tests/mem/own_process.h"

namespace weft::mem {
namespace {

using test::invariants_hold;
using test::status_of_body;

struct Live {
  std::size_t blocks = 0, bytes = 0, all_blocks = 0;
};
Live live() {
  Live sum;
  sampled_blocks.each_stack([&](const Stack& stack) {
    sum.blocks += stack.live_blocks;
    sum.bytes += stack.live_bytes;
    sum.all_blocks += stack.all_blocks;
  });
  return sum;
}

// What is disabled by name is run by the tests at the end, in processes of its own: sampling stays on.

TEST(HeapSampled, DISABLED_WhatIsKeptIsSampledAtItsRateWhateverIsFreedInBetween) {
  constexpr std::size_t kMean = 16384;
  constexpr int kBlocks = 200000;
  ASSERT_TRUE(start_profile(kMean));
  std::vector<void*> kept;
  kept.reserve(kBlocks);
  for (int i = 0; i < kBlocks; ++i) {
    kept.push_back(allocate(200));
    void* moments[3] = {allocate(200), allocate(200), allocate(200)};
    for (void* each : moments) release(each);
  }
  const double chance = 1 / stands_for(kClassBytes[class_of(200)], kMean);
  const double expected = kBlocks * chance;
  EXPECT_NEAR(static_cast<double>(live().blocks), expected, 6 * std::sqrt(expected));
  EXPECT_EQ(live().bytes, live().blocks * kClassBytes[class_of(200)]);
  EXPECT_TRUE(invariants_hold());
  for (void* block : kept) release(block);
  EXPECT_EQ(live().blocks, 0U);
  EXPECT_EQ(live().bytes, 0U);
  EXPECT_TRUE(invariants_hold());
}

TEST(HeapSampled, DISABLED_LargeBlocksAreSampledByTheirSize) {
  constexpr std::size_t kMean = 1 << 20;
  constexpr int kBlocks = 3000;
  ASSERT_TRUE(start_profile(kMean));
  std::vector<void*> kept;
  kept.reserve(2 * kBlocks);
  for (int i = 0; i < kBlocks; ++i) kept.push_back(allocate(100000));
  const std::size_t one = usable_size(kept.back());
  const double expected = kBlocks / stands_for(static_cast<double>(one), kMean);
  EXPECT_NEAR(static_cast<double>(live().blocks), expected, 6 * std::sqrt(expected));
  // Growing draws anew, and what was known of the smaller one is forgotten.
  for (void*& block : kept) block = reallocate(block, 900000);
  const double grown = kBlocks / stands_for(static_cast<double>(usable_size(kept.back())), kMean);
  EXPECT_NEAR(static_cast<double>(live().blocks), grown, 6 * std::sqrt(grown));
  EXPECT_EQ(live().bytes, live().blocks * usable_size(kept.back()));
  for (void* block : kept) release(block);
  EXPECT_EQ(live().blocks, 0U);
}

TEST(HeapSampled, DISABLED_AMeanOfOneByteSamplesEveryBlock) {
  ASSERT_TRUE(start_profile(1));
  std::vector<void*> kept;
  kept.reserve(3000);
  const std::size_t before = live().blocks;
  for (std::size_t i = 0; i < 3000; ++i) kept.push_back(allocate(i * 20));
  EXPECT_EQ(live().blocks, before + 3000);
  EXPECT_EQ(gather_stats().sample_mean_bytes, 1U);
  EXPECT_GE(gather_stats().samples, 3000U);
  for (void* block : kept) release(block);
  EXPECT_EQ(live().blocks, before);
  EXPECT_TRUE(invariants_hold());
}

TEST(HeapSampled, DISABLED_ASlotThatIsUsedOverAndOverIsGivenUp) {
  // A slot is drawn, and the next one with it; then hardly any more.
  ASSERT_TRUE(start_profile(1));
  release(allocate(2000));
  ASSERT_TRUE(start_profile(1 << 30));
  const std::size_t before = live().all_blocks;
  for (int i = 0; i < 10000; ++i) release(allocate(2000));
  EXPECT_GT(live().all_blocks, before + 30);
  EXPECT_LT(live().all_blocks, before + 300);
  EXPECT_TRUE(invariants_hold());
}

TEST(HeapSampled, DISABLED_IdleAndEndedThreadsKeepNothing) {
  ASSERT_TRUE(start_profile(500));
  std::jthread([] {
    std::vector<void*> blocks;
    blocks.reserve(20000);
    for (std::size_t i = 0; i < 20000; ++i) blocks.push_back(allocate(i % 900));
    for (void* block : blocks) release(block);
  }).join();
  std::vector<void*> blocks;
  blocks.reserve(20000);
  for (std::size_t i = 0; i < 20000; ++i) blocks.push_back(allocate(i % 900));
  for (void* block : blocks) release(block);
  EXPECT_EQ(live().blocks, 0U);
  heap_idle(0);
  EXPECT_TRUE(invariants_hold());
  EXPECT_EQ(sampling::heap()->held_units(), 0U);
}

TEST(HeapSampled, DISABLED_NumbersCountWhatTheProgramHolds) {
  ASSERT_TRUE(start_profile(2000));
  for (int round = 0; round < 3; ++round) {
    const Stats before = gather_stats();
    std::vector<void*> blocks;
    blocks.reserve(2000);
    for (int i = 0; i < 2000; ++i) blocks.push_back(allocate(1000));
    EXPECT_EQ(gather_stats().small_bytes, before.small_bytes + 2000 * std::size_t{kClassBytes[class_of(1000)]});
    for (void* block : blocks) release(block);
    EXPECT_EQ(gather_stats().small_bytes, before.small_bytes);
  }
}

TEST(HeapSampled, DISABLED_ASampledBlockFreedTwiceEndsTheProcess) {
  ASSERT_TRUE(start_profile(1));
  EXPECT_DEATH(
      {
        void* block = allocate(100);
        release(block);
        release(block);
      },
      "weft heap: free of an address at which nothing is allocated .freed before..: 0x");
}

TEST(HeapSampling, PlacesAreDrawnWithoutFavour) {
  for (const char* body : {"WhatIsKeptIsSampledAtItsRateWhateverIsFreedInBetween", "LargeBlocksAreSampledByTheirSize",
                           "AMeanOfOneByteSamplesEveryBlock"}) {
    EXPECT_EQ(status_of_body(std::string("HeapSampled.DISABLED_") + body), 0) << body;
  }
}

TEST(HeapSampling, SlotsComeAndGo) {
  for (const char* body : {"ASlotThatIsUsedOverAndOverIsGivenUp", "IdleAndEndedThreadsKeepNothing",
                           "NumbersCountWhatTheProgramHolds", "ASampledBlockFreedTwiceEndsTheProcess"}) {
    EXPECT_EQ(status_of_body(std::string("HeapSampled.DISABLED_") + body), 0) << body;
  }
}

// With WEFT_TEST_SAMPLE the whole program is sampled.
class SampledProcess : public ::testing::Environment {
  void SetUp() override {
    const char* mean = std::getenv("WEFT_TEST_SAMPLE");  // NOLINT(concurrency-mt-unsafe): before threads
    if (mean == nullptr) return;
    ASSERT_TRUE(start_profile(std::strtoull(mean, nullptr, 10)));
  }
};
[[maybe_unused]] const auto* const environment = ::testing::AddGlobalTestEnvironment(new SampledProcess);

TEST(HeapSampling, AHeapThatIsSampledIsAHeapLikeAnother) {
  if (std::getenv("WEFT_TEST_SAMPLE") != nullptr) GTEST_SKIP() << "this is it";  // NOLINT(concurrency-mt-unsafe)
  // All but those that count slabs; every block is traced in a few alone, which takes long.
  const std::string few = "HeapModel.*:Large.*:Heap.*";
  const std::string most =
      "HeapModel.*:HeapThreads.*:HeapFork.*:Heap.*:Region.*:Large.*:Allocate.*-Allocate.ASlabWhose*:"
      "Allocate.APointerThat*:HeapFork.AChildUsesWhat*:HeapThreads.FreeBlocksOfAHeapWithout*";
  for (const auto& [mean, tests] : {std::pair{"1", few}, std::pair{"10000", most}}) {
    setenv("WEFT_TEST_SAMPLE", mean, 1);  // NOLINT(concurrency-mt-unsafe): no threads here
    EXPECT_EQ(status_of_body(tests), 0) << mean;
  }
  unsetenv("WEFT_TEST_SAMPLE");  // NOLINT(concurrency-mt-unsafe)
}

}  // namespace
}  // namespace weft::mem
