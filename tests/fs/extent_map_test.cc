#include <gtest/gtest.h>

#include <random>

#include "tests/fs/tree_world.h"

namespace weft::fs {
namespace {

using testing::CrashingModel;
using testing::Script;
using testing::TreeWorld;

struct MappedBlock {
  std::uint64_t block = 0;
  std::uint32_t flags = 0;
  std::uint32_t sum = 0;
  bool operator==(const MappedBlock&) const = default;
};
using Blocks = std::map<std::pair<std::uint64_t, std::uint64_t>, MappedBlock>;  // (inode, file block)

Blocks blocks_of(BTree& tree, std::uint64_t* extents = nullptr) {
  Blocks all;
  const Status status = tree.scan(Key::lowest(), Key::highest(), [&](Key key, std::span<const std::byte> value) {
    DiskExtent extent;
    std::memcpy(&extent, value.data(), sizeof(extent));
    if (extents != nullptr) ++*extents;
    for (std::uint32_t i = 0; i < extent.length; ++i) {
      MappedBlock block{extent.block + i, extent.flags, 0};
      if (extent.flags == 0) std::memcpy(&block.sum, value.data() + sizeof(extent) + std::size_t{i} * 4, 4);
      EXPECT_TRUE(all.emplace(std::pair(key.object, key.offset() + i), block).second) << "extents overlap";
    }
    return true;
  });
  EXPECT_TRUE(status) << status.error().message();
  return all;
}

// `want` blocks, if there are so many in a row; fewer otherwise; none if the volume is full.
BlockRange allocate(TreeWorld& world, std::uint64_t want, BlockNo goal = {}) {
  auto reservation = world.allocator->reserve(want, 0, false);
  if (!reservation) return {};
  auto range = world.allocator->allocate(*reservation, goal, want);
  EXPECT_TRUE(range);
  return *range;
}

std::vector<std::uint32_t> sums(std::uint64_t count, std::uint32_t first) {
  std::vector<std::uint32_t> all;
  for (std::uint64_t i = 0; i < count; ++i) all.push_back(first + static_cast<std::uint32_t>(i));
  return all;
}

TEST(ExtentMap, MergesAppendsUpToTheLargestExtent) {
  TreeWorld world(4096);
  BlockNo goal;
  for (std::uint64_t i = 0; i < 300; ++i) {
    const BlockRange block = allocate(world, 1, goal);
    goal = block.end();
    Script script;
    script.map(20, i, block, 0, {static_cast<std::uint32_t>(i)});
    ASSERT_TRUE(world.apply(script));
  }
  std::uint64_t extents = 0;
  const Blocks blocks = blocks_of(*world.tree, &extents);
  EXPECT_EQ(blocks.size(), 300u);
  EXPECT_EQ(extents, 3u);  // 128 + 128 + 44
  for (std::uint64_t i = 0; i < 300; ++i) EXPECT_EQ(blocks.at({20, i}).sum, i);
  world.check(300);
}

TEST(ExtentMap, CutsAHoleAndKeepsTheChecksumsOfBothSides) {
  TreeWorld world(4096);
  const BlockRange blocks = allocate(world, 100);
  Script script;
  script.map(20, 1000, blocks, 0, sums(100, 500));
  ASSERT_TRUE(world.apply(script));
  Script hole;
  hole.unmap(20, 1010, 30);
  ASSERT_TRUE(world.apply(hole));
  const Blocks left = blocks_of(*world.tree);
  EXPECT_EQ(left.size(), 70u);
  EXPECT_EQ(left.at({20, 1009}).sum, 509u);
  EXPECT_EQ(left.at({20, 1040}), (MappedBlock{blocks.start.value() + 40, 0, 540}));
  world.check(70);
  EXPECT_EQ(world.allocator->space().pending_blocks, 30u + 1u);  // and the root that was copied
}

TEST(ExtentMap, FreedBlocksAreNotHandedOutBeforeTheCheckpoint) {
  TreeWorld world(1024);
  const BlockRange blocks = allocate(world, 10);
  Script script;
  script.map(20, 0, blocks, 0, sums(10, 0));
  ASSERT_TRUE(world.apply(script));
  Script gone;
  gone.unmap(20, 0, 10);
  ASSERT_TRUE(world.apply(gone));
  const BlockRange again = allocate(world, 10, blocks.start);
  EXPECT_NE(again.start, blocks.start);
  world.allocator->abandon(again);
  world.freeze();
  world.finish();
  EXPECT_EQ(allocate(world, 10, blocks.start), blocks);
}

TEST(ExtentMap, WritingIntoUnwrittenBlocksNeitherFreesNorTakesThem) {
  TreeWorld world(1024);
  const BlockRange blocks = allocate(world, 100);
  Script script;
  script.map(20, 0, blocks, kExtentUnwritten, {});
  ASSERT_TRUE(world.apply(script));
  world.checkpoint();
  const auto free = world.allocator->space().free_blocks;
  Script write;
  write.map(20, 40, {blocks.start + 40, 10}, 0, sums(10, 7));
  ASSERT_TRUE(world.apply(write));
  world.check(100);
  EXPECT_EQ(world.allocator->space().free_blocks, free);
  const Blocks all = blocks_of(*world.tree);
  EXPECT_EQ(all.at({20, 39}).flags, kExtentUnwritten);
  EXPECT_EQ(all.at({20, 40}), (MappedBlock{blocks.start.value() + 40, 0, 7}));
  EXPECT_EQ(all.at({20, 50}), (MappedBlock{blocks.start.value() + 50, kExtentUnwritten, 0}));
}

TEST(ExtentMap, UnmapsFilesOfManyLeavesWithinItsBound) {
  TreeWorld world(1 << 16);
  // Every second block of the file: as many extents as blocks.
  constexpr std::uint64_t kBlocks = 9000;
  for (std::uint64_t i = 0; i < kBlocks; i += 50) {
    Script script;
    for (std::uint64_t k = i; k < i + 50; ++k) {
      const BlockRange block = allocate(world, 1);
      script.map(20, k * 2, block, 0, {1});
    }
    ASSERT_TRUE(world.apply(script));
  }
  Script neighbour;
  const BlockRange block = allocate(world, 2);
  neighbour.map(19, 5, {block.start, 1}, 0, {1}).map(21, 0, {block.start + 1, 1}, 0, {2});
  ASSERT_TRUE(world.apply(neighbour));
  world.checkpoint();
  EXPECT_GE(world.tree->root().level, 1);
  Script gone;
  gone.unmap(20, 3, kMaxKeyOffset / 2);
  ASSERT_TRUE(world.apply(gone));
  EXPECT_EQ(blocks_of(*world.tree).size(), 4u);
  EXPECT_EQ(world.check(4).nodes, 1u);
}

TEST(ExtentMap, DamagedClaimsAreReportedAndHarmless) {
  TreeWorld world(1024);
  ASSERT_TRUE(*world.allocator->is_used(BlockNo(TreeWorld::kFixed)));
  Script script;  // the root's own block, which nobody set aside for a file
  script.map(20, 0, {world.tree->root().block, 1}, 0, {1});
  ApplyEffects effects;
  auto reservation = world.allocator->reserve(0, world.tree->node_bound(1), true);
  ASSERT_TRUE(reservation);
  ASSERT_TRUE(world.tree->apply(script.bytes(), effects, [] {}));
  EXPECT_TRUE(effects.damage);
  Script outside;
  outside.map(20, 0, {BlockNo(3), 1}, 0, {1});
  EXPECT_EQ(world.tree->apply(outside.bytes(), effects, [] {}).error().code(), Errc::kCorrupt);
}

TEST(ExtentMap, BehavesLikeAMapOfBlocksUnderRandomChanges) {
  for (const std::uint64_t seed : {11u, 12u, 13u}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    TreeWorld world(12000);
    CrashingModel<Blocks> states;
    Blocks& model = states.now;
    std::uint32_t next_sum = 1;
    std::map<std::uint64_t, BlockNo> ends;
    for (int step = 0; step < 5000; ++step) {
      Script script;
      for (std::uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
        const std::uint64_t inode = 20 + random() % 2;
        const std::uint64_t first = random() % 1500;
        if (random() % 10 < 7) {
          std::uint32_t flags = 0;
          if (random() % 4 == 0) flags = kExtentUnwritten;
          if (random() % 6 == 0) flags = kExtentNoChecksum;
          const std::uint64_t want = random() % 12 == 0 ? 1 + random() % 128 : 1 + random() % 3;
          BlockRange range;
          const auto there = model.find({inode, first});
          if (flags == 0 && there != model.end() && there->second.flags == kExtentUnwritten) {
            range = {BlockNo(there->second.block), 1};  // in place
          } else {
            range = allocate(world, want, random() % 2 == 0 ? ends[inode] : BlockNo{});
            if (range.count == 0) continue;
            ends[inode] = range.end();
          }
          const auto checks = flags != 0 ? std::vector<std::uint32_t>{} : sums(range.count, next_sum);
          script.map(inode, first, range, flags, checks);
          for (std::uint64_t i = 0; i < range.count; ++i) {
            model[{inode, first + i}] = {range.start.value() + i, flags,
                                         flags != 0 ? 0 : next_sum + static_cast<std::uint32_t>(i)};
          }
          next_sum += 1000;
        } else {
          const std::uint64_t count = random() % 50 == 0 ? 1'000'000 : 1 + random() % 40;
          script.unmap(inode, first, count);
          model.erase(model.lower_bound({inode, first}), model.lower_bound({inode, first + count}));
        }
      }
      const Status status = world.apply(script);
      ASSERT_TRUE(status) << status.error().message() << " at step " << step;
      states.maybe(world, random, 50);
      if (step % 500 == 0) {
        ASSERT_EQ(blocks_of(*world.tree), model) << step;
        world.check(model.size());
      }
      if (HasFailure()) return;
    }
    ASSERT_EQ(blocks_of(*world.tree), model);
    world.check(model.size());
  }
}

}  // namespace
}  // namespace weft::fs
