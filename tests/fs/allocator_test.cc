#include "fs/allocator.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/fs/tree_world.h"

namespace weft::fs {
namespace {

using testing::RamBitmaps;
using testing::Script;
using testing::TreeWorld;

struct Volume {
  explicit Volume(std::uint64_t blocks) : bitmaps(blocks, 10) {
    AllocatorConfig config;
    config.block_count = blocks;
    config.first_block = BlockNo(10);
    config.end_block = BlockNo(blocks - 2);
    config.free_counts = bitmaps.free_counts();
    bitmaps.loads = 0;
    allocator = std::make_unique<Allocator>(config, bitmaps);
  }
  RamBitmaps bitmaps;
  std::unique_ptr<Allocator> allocator;
};

TEST(GroupBitmap, FindsRunsLikeAWalkBitByBit) {
  std::mt19937_64 random(5);
  for (int round = 0; round < 50; ++round) {
    GroupBitmap bitmap;
    std::vector<bool> bits(kBlocksPerGroup);
    for (int i = 0; i < 400; ++i) {
      const auto first = static_cast<std::uint32_t>(random() % kBlocksPerGroup);
      const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(random() % 200, kBlocksPerGroup - first));
      const bool set = random() % 3 != 0;
      if (set) {
        bitmap.set(first, count);
      } else {
        bitmap.clear(first, count);
      }
      std::fill(bits.begin() + first, bits.begin() + first + count, set);
    }
    EXPECT_EQ(bitmap.count_set(), static_cast<std::uint32_t>(std::count(bits.begin(), bits.end(), true)));
    const auto from = static_cast<std::uint32_t>(random() % kBlocksPerGroup);
    const auto to = static_cast<std::uint32_t>(from + random() % (kBlocksPerGroup - from + 1));
    const auto want = static_cast<std::uint32_t>(1 + random() % 300);
    GroupRun best;
    for (std::uint32_t at = from; at < to && best.count < want;) {
      std::uint32_t end = at;
      while (end < to && !bits[end] && end - at < want) ++end;
      if (end - at > best.count) best = {at, end - at};
      at = std::max(at + 1, end);
    }
    const GroupRun found = bitmap.find_run(from, to, want);
    EXPECT_EQ(found.count, best.count);
    EXPECT_EQ(best.count != 0 ? found.first : 0, best.first);
  }
}

TEST(Allocator, GivesEveryBlockOnceUntilFull) {
  Volume volume(2000);
  std::set<std::uint64_t> seen;
  for (;;) {
    auto reservation = volume.allocator->reserve(7, 0, false);
    if (!reservation) break;
    while (reservation->data_blocks() != 0) {
      const auto range = volume.allocator->allocate(*reservation, BlockNo{}, 7);
      ASSERT_TRUE(range);
      for (std::uint64_t i = 0; i < range->count; ++i) EXPECT_TRUE(seen.insert(range->start.value() + i).second);
      EXPECT_TRUE(volume.allocator->in_data_area(*range));
    }
  }
  EXPECT_GE(seen.size(), 1988u - 6);
  EXPECT_LT(volume.allocator->space().allocatable_blocks, 7u);
}

TEST(Allocator, ReadsNoBitmapUntilAsked) {
  Volume volume(std::uint64_t{kBlocksPerGroup} * 1000);
  EXPECT_EQ(volume.bitmaps.loads, 0);
  auto reservation = volume.allocator->reserve(1, 1, false);
  ASSERT_TRUE(reservation);
  ASSERT_TRUE(volume.allocator->allocate(*reservation, BlockNo(std::uint64_t{kBlocksPerGroup} * 500), 1));
  EXPECT_LE(volume.bitmaps.loads, 2);
}

TEST(Allocator, KeepsAReserveForWhatFreesSpace) {
  Volume volume(1000);
  volume.allocator->set_held_back(100);
  EXPECT_FALSE(volume.allocator->reserve(900, 0, false));
  auto most = volume.allocator->reserve(888, 0, false);
  ASSERT_TRUE(most);
  EXPECT_EQ(volume.allocator->reserve(1, 0, false).error().code(), Errc::kNoSpace);
  EXPECT_TRUE(volume.allocator->reserve(0, 100, true));
  most->release();
  EXPECT_TRUE(volume.allocator->reserve(888, 0, false));
}

TEST(Allocator, PutsNodesInARowAndDataElsewhere) {
  Volume volume(kBlocksPerGroup);
  auto reservation = volume.allocator->reserve(100, 100, false);
  ASSERT_TRUE(reservation);
  BlockNo previous = volume.allocator->allocate_node();
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(volume.allocator->allocate(*reservation, BlockNo{}, 1));
    const BlockNo next = volume.allocator->allocate_node();
    EXPECT_EQ(next, previous + 1);
    previous = next;
  }
}

TEST(Allocator, FollowsTheGoal) {
  Volume volume(kBlocksPerGroup * 2);
  auto reservation = volume.allocator->reserve(100, 0, false);
  ASSERT_TRUE(reservation);
  const BlockNo goal(40000);
  EXPECT_EQ(*volume.allocator->allocate(*reservation, goal, 30), (BlockRange{goal, 30}));
  EXPECT_EQ(*volume.allocator->allocate(*reservation, goal + 30, 30), (BlockRange{goal + 30, 30}));
}

TEST(Allocator, FreesIntoGroupsThatAreNotInMemory) {
  Volume volume(std::uint64_t{kBlocksPerGroup} * 3);
  // A checkpoint that has a used run in group 2.
  std::vector<std::byte> bytes(kBlockBytes);
  const std::span<std::byte, kBlockBytes> span(bytes.data(), kBlockBytes);
  ASSERT_TRUE(volume.bitmaps.load_bitmap(2, span));
  GroupBitmap bits;
  bits.load(span);
  bits.set(100, 50);
  bits.store(span);
  volume.bitmaps.saved[2] = bytes;
  AllocatorConfig config;
  config.block_count = std::uint64_t{kBlocksPerGroup} * 3;
  config.first_block = BlockNo(10);
  config.end_block = BlockNo(config.block_count - 2);
  config.free_counts = volume.bitmaps.free_counts();
  Allocator allocator(config, volume.bitmaps);
  volume.bitmaps.loads = 0;
  const BlockRange part{BlockNo(std::uint64_t{kBlocksPerGroup} * 2 + 110), 20};
  EXPECT_TRUE(allocator.free(part));
  EXPECT_EQ(volume.bitmaps.loads, 0);
  auto frozen = allocator.freeze();
  ASSERT_TRUE(frozen);
  ASSERT_EQ(frozen->groups.size(), 1u);
  EXPECT_EQ(frozen->groups[0].group, 2u);
  EXPECT_EQ(frozen->groups[0].free_blocks, config.free_counts[2] + 20);
  bits.load(frozen->groups[0].bitmap.bytes());
  EXPECT_EQ(bits.count_set(100, 50), 30u);
  EXPECT_EQ(allocator.space().pending_blocks, 20u);
  EXPECT_EQ(allocator.thaw(std::move(*frozen)), std::vector<BlockRange>{part});
  EXPECT_EQ(allocator.space().pending_blocks, 0u);
  EXPECT_EQ(allocator.space().allocatable_blocks, allocator.space().free_blocks);
}

TEST(Allocator, ToleratesFreeingWhatIsFreeAndSaysSo) {
  Volume volume(1000);
  ASSERT_TRUE(volume.allocator->reserve(0, 1, false));
  EXPECT_FALSE(volume.allocator->free({BlockNo(50), 5}));
  EXPECT_FALSE(volume.allocator->free({BlockNo(2), 1}));
  EXPECT_FALSE(volume.allocator->free({BlockNo(990), 1000}));
  EXPECT_FALSE(volume.allocator->commit_used({BlockNo(999), 1}));
  EXPECT_FALSE(volume.allocator->hold_for_replay({BlockNo(9), 1}));
  EXPECT_EQ(volume.allocator->space().free_blocks, 988u);
}

TEST(Allocator, KeepsNodesOffBlocksThatTheLogWillMap) {
  Volume volume(1000);
  ASSERT_TRUE(volume.allocator->hold_for_replay({BlockNo(10), 200}));
  auto reservation = volume.allocator->reserve(0, 50, false);
  ASSERT_TRUE(reservation);
  for (int i = 0; i < 50; ++i) EXPECT_GE(volume.allocator->allocate_node(), BlockNo(210));
  EXPECT_TRUE(volume.allocator->commit_used({BlockNo(10), 200}));
}

TEST(Allocator, RefusesABitmapThatContradictsTheGroupTable) {
  RamBitmaps bitmaps(1000, 10);
  AllocatorConfig config;
  config.block_count = 1000;
  config.first_block = BlockNo(10);
  config.end_block = BlockNo(998);
  config.free_counts = {987};
  Allocator allocator(config, bitmaps);
  EXPECT_EQ(allocator.reserve(0, 1, false).error().code(), Errc::kCorrupt);
}

TEST(Allocator, KeepsNoMoreBitmapsThanItMay) {
  constexpr std::uint64_t kGroups = 200;
  constexpr std::size_t kMost = 20;
  RamBitmaps bitmaps(kGroups * kBlocksPerGroup, 10);
  AllocatorConfig config;
  config.block_count = kGroups * kBlocksPerGroup;
  config.first_block = BlockNo(10);
  config.end_block = BlockNo(config.block_count - 2);
  config.free_counts = bitmaps.free_counts();
  config.max_loaded_groups = kMost;
  Allocator allocator(config, bitmaps);
  std::size_t most = 0;
  const auto look = [&] { most = std::max(most, allocator.loaded_groups()); };
  ASSERT_TRUE(allocator.visit_free({BlockNo(0), config.block_count}, 1, [&](BlockRange) -> Status {
    look();
    return {};
  }));
  EXPECT_LE(most, kMost + 2);
  EXPECT_GE(bitmaps.loads, static_cast<int>(2 * kGroups)) << "all of them were looked at";
  // Nor do allocations from all over the volume keep theirs.
  most = 0;
  for (std::uint64_t group = 0; group < kGroups; ++group) {
    auto reservation = allocator.reserve(10, 0, false);
    ASSERT_TRUE(reservation);
    const auto range = allocator.allocate(*reservation, BlockNo(group * kBlocksPerGroup + 5000), 10);
    ASSERT_TRUE(range);
    allocator.abandon(*range);
    look();
  }
  EXPECT_LE(most, kMost + 2);
}

TEST(Allocator, CountsWhatWaitsForACheckpoint) {
  Volume volume(5000);
  auto reservation = volume.allocator->reserve(20, 0, false);
  ASSERT_TRUE(reservation);
  const BlockRange one = *volume.allocator->allocate(*reservation, BlockNo(2000), 10);
  const BlockRange two = *volume.allocator->allocate(*reservation, BlockNo(3000), 10);
  for (const BlockRange& range : {one, two}) ASSERT_TRUE(volume.allocator->commit_used(range));
  for (const BlockRange& range : {one, two}) ASSERT_TRUE(volume.allocator->free(range));
  EXPECT_EQ(volume.allocator->pending_bytes(), 2 * sizeof(BlockRange));
  EXPECT_GT(volume.allocator->changed_bytes(), 0u);
  ASSERT_TRUE(volume.allocator->prepare_freeze());
  auto frozen = volume.allocator->freeze();
  ASSERT_TRUE(frozen);
  EXPECT_EQ(volume.allocator->pending_bytes(), 2 * sizeof(BlockRange)) << "not before it is durable";
  (void)volume.allocator->thaw(std::move(*frozen));
  EXPECT_EQ(volume.allocator->pending_bytes(), 0u);
  EXPECT_EQ(volume.allocator->changed_bytes(), 0u);
}

TEST(Allocator, HandsFreeRunsToTrimAndTakesThemBack) {
  Volume volume(5000);
  auto reservation = volume.allocator->reserve(10, 0, false);
  ASSERT_TRUE(reservation);
  const BlockRange taken = *volume.allocator->allocate(*reservation, BlockNo(2000), 10);
  ASSERT_TRUE(volume.allocator->commit_used(taken));
  std::uint64_t total = 0;
  ASSERT_TRUE(volume.allocator->visit_free({BlockNo(0), 5000}, 5, [&](BlockRange run) -> Status {
    EXPECT_TRUE(run.end() <= taken.start || run.start >= taken.end());
    total += run.count;
    return {};
  }));
  EXPECT_EQ(total, 4988u - 10);
  EXPECT_EQ(volume.allocator->space().allocatable_blocks, 4978u);
}

// The smallest volume: filled until nothing goes, emptied again, and as good as new; again and again.
TEST(Allocator, ASmallVolumeFillsUpAndCanStillDelete) {
  TreeWorld world(1024);
  world.allocator->set_held_back(world.tree->node_bound(8));
  for (int round = 0; round < 5; ++round) {
    std::uint64_t made = 0;
    for (std::uint64_t i = 0;; ++i) {
      const std::uint64_t bound = world.tree->node_bound(2);
      auto reservation = world.allocator->reserve(1, bound, false);
      if (!reservation) {
        if (world.allocator->space().pending_blocks != 0) {
          world.checkpoint();
          reservation = world.allocator->reserve(1, bound, false);
        }
        if (!reservation) break;
      }
      const BlockRange block = *world.allocator->allocate(*reservation, BlockNo{}, 1);
      Script script;
      script.put(Key(InodeNo(100 + i * 3), KeyKind::kXattr, 0), std::string(300, 'x'));
      script.map(100 + i * 3, 0, block, 0, {1});
      ApplyEffects effects;
      ASSERT_TRUE(world.tree->apply(script.bytes(), effects, [] {}));
      ++made;
    }
    EXPECT_GT(made, 600u);
    world.check(made);
    for (std::uint64_t i = 0; i < made; ++i) {
      const std::uint64_t victim = round % 2 == 0 ? i : made - 1 - i;
      Script script;
      script.erase(Key(InodeNo(100 + victim * 3), KeyKind::kXattr, 0)).unmap(100 + victim * 3, 0, 1);
      ASSERT_TRUE(world.apply(script)) << "round " << round << ", deletion " << i;
    }
    EXPECT_EQ(world.check(0).nodes, 1u);
    world.checkpoint();
    EXPECT_EQ(world.allocator->space().pending_blocks, 0u);
  }
}

}  // namespace
}  // namespace weft::fs
