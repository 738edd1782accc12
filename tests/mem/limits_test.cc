#include "mem/limits.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cerrno>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "mem/allocate.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"
#include "tests/mem/commands.h"

namespace weft::mem {
namespace {

constexpr std::size_t kMiB = std::size_t{1} << 20;

// What the process has already, without what earlier tests left in this thread's lists, and room for more.
std::size_t above_now(std::size_t more) {
  heap_idle(SIZE_MAX);
  return gather_stats().live_bytes + more;
}

class HeapLimits : public ::testing::Test {
 protected:
  void TearDown() override {
    for (void* block : blocks_) release(block);
    set_limits({});
    EXPECT_TRUE(test::invariants_hold());
  }
  // Until there is none.
  std::size_t fill(std::size_t size) {
    blocks_.reserve(100000);
    for (std::size_t count = 0;; ++count) {
      errno = 0;
      void* block = allocate(size);
      if (block == nullptr) {
        EXPECT_EQ(errno, ENOMEM);
        return count * size;
      }
      blocks_.push_back(block);
    }
  }
  std::vector<void*> blocks_;
};

TEST_F(HeapLimits, WhatIsSetIsReadInWholeUnits) {
  EXPECT_EQ(limits().soft_bytes, SIZE_MAX);
  EXPECT_EQ(limits().hard_bytes, SIZE_MAX);
  set_limits({.soft_bytes = 100 * kMiB + 5, .hard_bytes = 200 * kMiB});
  EXPECT_EQ(limits().soft_bytes, 100 * kMiB);
  EXPECT_EQ(limits().hard_bytes, 200 * kMiB);
}

TEST_F(HeapLimits, BeyondTheHardLimitThereIsNoMemoryAndThenThereIsAgain) {
  for (const std::size_t size : {std::size_t{100}, std::size_t{5000}, std::size_t{70000}, std::size_t{1500000}}) {
    trim(0);
    const std::size_t refused = gather_stats().hard_limit_refused;
    set_limits({.hard_bytes = above_now(16 * kMiB)});
    const std::size_t got = fill(size);
    // Slabs of large classes have room that no block fits into.
    EXPECT_GT(got, 8 * kMiB) << size;
    EXPECT_LE(got, 17 * kMiB) << size;
    EXPECT_LE(gather_stats().live_bytes, limits().hard_bytes);
    EXPECT_GT(gather_stats().hard_limit_refused, refused);
    for (void* block : blocks_) release(block);
    blocks_.clear();
    EXPECT_GT(fill(size), 8 * kMiB) << size << " for the second time";
    for (void* block : blocks_) release(block);
    blocks_.clear();
  }
}

TEST_F(HeapLimits, ABlockGrowsUpToTheHardLimitAndIsThereAfterwards) {
  set_limits({.hard_bytes = above_now(16 * kMiB)});
  void* block = allocate(kMiB);
  test::fill(block, kMiB, 3);
  std::size_t size = kMiB;
  for (;;) {
    errno = 0;
    void* grown = reallocate(block, size + kMiB);
    if (grown == nullptr) break;
    block = grown;
    size += kMiB;
  }
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_GE(size, 6 * kMiB);
  EXPECT_LE(size, 16 * kMiB);
  EXPECT_TRUE(test::is_filled(block, kMiB, 3));
  release(block);
}

TEST_F(HeapLimits, FreePagesGoAsSoonAsTheyAndWhatIsInUseAreMoreThanALimit) {
  trim(0);
  void* kept = allocate(20 * kMiB);
  set_limits({.soft_bytes = gather_stats().live_bytes + 2 * kMiB});
  for (int i = 0; i < 8; ++i) {
    void* block = allocate(kMiB / 2);
    test::fill(block, kMiB / 2, 1);
    blocks_.push_back(block);
    if (blocks_.size() == 4) {
      for (void* each : blocks_) release(each);
      blocks_.clear();
    }
    const Stats stats = gather_stats();
    EXPECT_LE(stats.live_bytes + stats.dirty_bytes, limits().soft_bytes);
  }
  release(kept);
}

TEST_F(HeapLimits, ThePassOfTheSoftLimitIsCountedAndListsAreFlushed) {
  // In this thread's list, and in an empty slab.
  std::vector<void*> waiting;
  waiting.reserve(150);
  for (int i = 0; i < 150; ++i) waiting.push_back(allocate(1008));
  for (void* block : waiting) release(block);
  const Stats before = gather_stats();
  ASSERT_GT(before.classes[class_of(1008)].slabs, 1U);
  set_limits({.soft_bytes = above_now(kMiB)});
  blocks_.push_back(allocate(4 * kMiB));
  blocks_.push_back(allocate(4 * kMiB));
  const Stats after = gather_stats();
  EXPECT_EQ(after.soft_limit_passed, before.soft_limit_passed + 1);
  EXPECT_LE(after.classes[class_of(1008)].slabs, 1U);
  EXPECT_EQ(after.soft_limit_bytes, limits().soft_bytes);
  // Below, and above once more.
  for (void* block : blocks_) release(block);
  blocks_.clear();
  blocks_.push_back(allocate(4 * kMiB));
  EXPECT_EQ(gather_stats().soft_limit_passed, before.soft_limit_passed + 2);
}

TEST_F(HeapLimits, ThreadsThatMeetTheHardLimitTogetherGoOn) {
  set_limits({.hard_bytes = above_now(16 * kMiB)});
  std::atomic<std::size_t> refused{0};
  {
    std::vector<std::jthread> threads;
    threads.reserve(3);
    for (int t = 0; t < 3; ++t) {
      threads.emplace_back([&] {
        std::vector<void*> mine;
        mine.reserve(20000);
        for (int round = 0; round < 3; ++round) {
          for (int i = 0; i < 20000; ++i) {
            void* block = allocate(i % 50 == 0 ? 50000 : 900);
            if (block == nullptr) {
              ++refused;
              break;
            }
            test::fill(block, 100, i);
            mine.push_back(block);
          }
          for (void* block : mine) release(block);
          mine.clear();
        }
      });
    }
  }
  EXPECT_GT(refused, 0U);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(HeapLimitsPreloaded, AProgramMeetsTheHardLimitAsTheStandardsSay) {
  if (!std::filesystem::exists(test::preload_library())) GTEST_SKIP() << "libweft-mem.so is not built beside this";
  for (const char* mode : {"hard=64m", "hard=64m,hardened", "hard=64m,sample=64k", "soft=32m,hard=64m"}) {
    const test::Outcome end =
        test::shell(std::string("timeout 60 env WEFT_HEAP=") + mode + " LD_PRELOAD=" + test::preload_library() + " " +
                    (test::build_folder() / "tests/preload/greedy").string());
    EXPECT_EQ(end.status, 0) << mode << ":\n" << end.said;
    std::istringstream lines(end.said);
    int ways = 0;
    for (std::string line; std::getline(lines, line);) {
      const std::size_t colon = line.find(": ");
      if (colon == std::string::npos || line.starts_with("weft heap: ")) continue;
      ++ways;
      const int got = std::stoi(line.substr(colon + 2));
      EXPECT_GE(got, 20) << mode << " " << line;
      EXPECT_LE(got, 64) << mode << " " << line;
    }
    EXPECT_EQ(ways, 5) << end.said;
    EXPECT_EQ(end.said.find("weft heap: more than the soft limit of 33554432 bytes is in use\n") != std::string::npos,
              std::string(mode).starts_with("soft"));
  }
}

}  // namespace
}  // namespace weft::mem
