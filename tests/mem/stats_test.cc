#include "mem/stats.h"

#include <gtest/gtest.h>

#include <vector>

#include "mem/allocate.h"

namespace weft::mem {
namespace {

TEST(HeapStats, CountsWhatTheProgramHolds) {
  const Stats before = gather_stats();
  std::vector<void*> blocks;
  blocks.reserve(2000);
  for (int i = 0; i < 2000; ++i) blocks.push_back(allocate(1000));
  blocks.push_back(allocate(1 << 20));
  const Stats after = gather_stats();
  EXPECT_EQ(after.small_bytes, before.small_bytes + 2000 * std::size_t{kClassBytes[class_of(1000)]});
  EXPECT_EQ(after.large_bytes, before.large_bytes + (1 << 20));
  EXPECT_EQ(after.large_blocks, before.large_blocks + 1);
  EXPECT_EQ(after.used_bytes, after.small_bytes + after.large_bytes);
  EXPECT_GE(after.live_bytes, after.used_bytes);
  EXPECT_GE(after.peak_bytes, after.live_bytes);
  EXPECT_GE(after.committed_bytes, after.live_bytes + after.dirty_bytes);
  for (void* block : blocks) release(block);
  EXPECT_EQ(gather_stats().used_bytes, before.used_bytes);
}

TEST(HeapStats, CountsRefillsAndSlabs) {
  const Stats before = gather_stats();
  std::vector<void*> blocks;
  blocks.reserve(5000);
  for (int i = 0; i < 5000; ++i) blocks.push_back(allocate(444));
  const Stats after = gather_stats();
  EXPECT_GT(after.slabs_made, before.slabs_made);
  EXPECT_GT(after.refills, before.refills);
  for (void* block : blocks) release(block);
  heap_idle(0);
  EXPECT_GT(gather_stats().slabs_freed, before.slabs_freed);
}

}  // namespace
}  // namespace weft::mem
