// Nodes of the tree that are lost: what was below them is found again.
#include <cstring>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/check/checked_volume.h"
#include "fs/superblock.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/fs_fixture.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

using check::Problem;

void garble(BlockDevice& disk, BlockNo block) {
  AlignedBuffer buffer(kBlockBytes);
  std::memset(buffer.bytes().data(), 0x5a, kBlockBytes);
  EXPECT_OK(disk.write(block.value() * kBlockBytes, buffer.bytes()));
}

struct NodeList final : BTree::Visitor {
  bool on_node(BlockNo block, std::uint8_t level) override {
    if (levels.size() <= level) levels.resize(level + 1u);
    levels[level].push_back(block);
    return true;
  }
  void on_item(Key, std::span<const std::byte>) override {}
  void on_lost(const BTree::LostNode&, const Error&) override { ADD_FAILURE(); }
  std::vector<std::vector<BlockNo>> levels;  // [0]: leaves
};

struct World {
  World() {
    Mounted m(32 * kMiB);
    for (int i = 0; i < 12; ++i) {
      const InodeNo directory = m.directory(kTop, "d" + std::to_string(i));
      for (int k = 0; k < 60; ++k) {
        const InodeNo file = m.file(directory, std::string(30, 'n') + std::to_string(k));
        m.write(file, 0, "content " + std::to_string(i * 100 + k));
      }
    }
    tree = describe(*take_snapshot(*m.fs));
    EXPECT_OK(m->unmount());
    image = m.disk.copy();
    MemoryDisk disk(image);
    const DiskSuperblock superblock = superblock_of(disk);
    root = BlockNo(superblock.root.block.get());
    auto volume = *check::CheckedVolume::open(disk, system_clock());
    EXPECT_OK(volume->examine({}));
    EXPECT_OK(volume->walk(nodes));
  }
  std::string tree;
  DiskImage image{32 * kMiB};
  BlockNo root;
  NodeList nodes;
};
const World& world() {
  static const World world;
  return world;
}

std::string tree_of(MemoryDisk& disk) {
  Mounted m(disk.copy());
  const auto tree = take_snapshot(*m.fs);
  EXPECT_OK(tree);
  return tree ? describe(*tree) : "";
}

TEST(Salvage, ALostRootOrInnerNodeCostsNothing) {
  ASSERT_GE(world().nodes.levels.size(), 2u);
  for (std::size_t level = 1; level < world().nodes.levels.size(); ++level) {
    SCOPED_TRACE(level);
    MemoryDisk disk(world().image);
    garble(disk, world().nodes.levels[level].front());
    const auto report = check::check_volume(disk, {});
    ASSERT_OK(report);
    ASSERT_EQ(report->findings.size(), 1u) << text_of(*report);
    EXPECT_EQ(report->findings[0].problem, Problem::kTreeNode);
    EXPECT_EQ(report->findings[0].block, world().nodes.levels[level].front());
    const auto safe = check::check_volume(disk, {.repair = true, .only_safe = true, .progress = {}});
    ASSERT_OK(safe);
    EXPECT_FALSE(safe->changed);
    EXPECT_EQ(safe->uncorrected, 1u);
    const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
    ASSERT_OK(repaired);
    EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
    EXPECT_EQ(problems_of(disk.copy()), "");
    EXPECT_EQ(tree_of(disk), world().tree);
  }
}

TEST(Salvage, ALostLeafCostsAtMostWhatItHeld) {
  const std::vector<BlockNo>& leaves = world().nodes.levels[0];
  for (std::size_t i = 0; i < leaves.size(); i += 3) {
    SCOPED_TRACE("leaf " + std::to_string(i));
    MemoryDisk disk(world().image);
    garble(disk, leaves[i]);
    const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
    ASSERT_OK(repaired);
    EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
    ASSERT_EQ(problems_of(disk.copy()), "") << text_of(*repaired);
    // A leaf holds a few dozen keys: nearly all of the 732 files and directories are there, by name or in lost+found.
    MemoryDisk copy(disk.copy());
    const auto report = check::check_volume(copy, {});
    ASSERT_OK(report);
    EXPECT_GT(report->inodes, 690u);
  }
}

TEST(Salvage, AVolumeWithoutAnyOfItsTreeIsEmptyAfterwards) {
  MemoryDisk disk(world().image);
  for (const auto& level : world().nodes.levels) {
    for (const BlockNo block : level) garble(disk, block);
  }
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_OK(repaired);
  EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
  EXPECT_EQ(problems_of(disk.copy()), "");
}

// The log is played on what was found.
TEST(Salvage, WhatOnlyTheLogHasIsStillThere) {
  Mounted m(world().image);
  m.write(m.file(kTop, "late"), 0, "in the log only");
  EXPECT_OK(m->sync());
  m.fs.reset();
  MemoryDisk disk(m.disk.copy());
  garble(disk, BlockNo(superblock_of(disk).root.block.get()));
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_OK(repaired);
  EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
  EXPECT_EQ(problems_of(disk.copy()), "");
  Mounted again(disk.copy());
  EXPECT_EQ(again.read(again.find(kTop, "late")), "in the log only");
  EXPECT_EQ(again.list(kTop).size(), 2u + 12 + 1);
}

}  // namespace
}  // namespace weft::fs::test
