// The checker notices: each rule is broken on purpose, seen, and mended.
#include "mem/heap_check.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "mem/allocate.h"
#include "mem/local_heap.h"
#include "mem/page_runs.h"
#include "mem/segment.h"

namespace weft::mem {
namespace {

std::string broken() {
  const char* rule = check_invariants().broken;
  return rule == nullptr ? "" : rule;
}

Descriptor& slab_of(void* block) {
  Segment& segment = *segment_with(block);
  return slab_at(segment, unit_at(segment, block));
}

TEST(HeapCheck, SeesAWrongCount) {
  void* block = allocate(777);
  Descriptor& slab = slab_of(block);
  ++slab.used;
  EXPECT_EQ(broken(), "blocks of a slab are used or free");
  --slab.used;
  release(block);
  EXPECT_EQ(broken(), "");
}

TEST(HeapCheck, SeesALinkThatWasWrittenOver) {
  void* first = allocate(888);
  void* second = allocate(888);
  release(second);
  release(first);
  void* kept = link_of(first);
  link_of(first) = static_cast<char*>(kept) + 8;
  EXPECT_EQ(broken(), "L2: a listed block is of an active slab");
  link_of(first) = kept;
  EXPECT_EQ(broken(), "");
}

TEST(HeapCheck, SeesAListThatRunsInACircle) {
  void* first = allocate(999);
  void* second = allocate(999);
  release(second);
  release(first);
  void* kept = link_of(second);
  link_of(second) = first;
  EXPECT_EQ(broken(), "L2: a list is not longer than its slabs have blocks");
  link_of(second) = kept;
  EXPECT_EQ(broken(), "");
}

TEST(HeapCheck, SeesAnEntryThatDoesNotFit) {
  void* block = allocate(200000);
  Segment& segment = *segment_with(block);
  std::atomic<std::uintptr_t>& entry = segment.map[unit_at(segment, block)];
  entry = 0;
  EXPECT_EQ(broken(), "a large block has its entry");
  entry = kLargeEntry;
  EXPECT_EQ(broken(), "");
  release(block);
}

TEST(HeapCheck, SeesADirtyUnitThatIsInUse) {
  void* block = allocate(200000);
  Segment& segment = *segment_with(block);
  const std::size_t unit = unit_at(segment, block);
  segment.dirty[unit / 64] ^= std::uint64_t{1} << unit % 64;
  EXPECT_EQ(broken(), "P2: only free units are dirty");
  segment.dirty[unit / 64] ^= std::uint64_t{1} << unit % 64;
  EXPECT_EQ(broken(), "");
  release(block);
}

TEST(HeapCheck, CountsWhatThereIs) {
  heap_idle(0);  // takes in what others freed
  const Checked before = check_invariants();
  std::vector<void*> blocks;
  blocks.reserve(1000);
  for (int i = 0; i < 1000; ++i) blocks.push_back(allocate(2000));
  void* large = allocate(200000);
  const Checked after = check_invariants();
  EXPECT_GE(after.slabs, before.slabs + 40);
  EXPECT_EQ(after.large_blocks, before.large_blocks + 1);
  EXPECT_GE(after.blocks_used, before.blocks_used + 900);
  for (void* block : blocks) release(block);
  release(large);
}

}  // namespace
}  // namespace weft::mem
