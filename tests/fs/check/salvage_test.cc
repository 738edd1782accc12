// Nodes of the tree that are lost: what was below them is found again.
#include <vector>

#include "tests/fs/check/block_damage.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/fs_fixture.h"
#include "tests/support/sample_tree.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

using check::Problem;

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
    nodes = nodes_of(disk);
  }
  std::string tree;
  DiskImage image{32 * kMiB};
  BlockNo root;
  std::vector<std::vector<BlockNo>> nodes;  // [0]: leaves
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
  ASSERT_GE(world().nodes.size(), 2u);
  for (std::size_t level = 1; level < world().nodes.size(); ++level) {
    SCOPED_TRACE(level);
    MemoryDisk disk(world().image);
    garble(disk, world().nodes[level].front());
    const auto report = check::check_volume(disk, {});
    ASSERT_OK(report);
    ASSERT_EQ(report->findings.size(), 1u) << text_of(*report);
    EXPECT_EQ(report->findings[0].problem, Problem::kTreeNode);
    EXPECT_EQ(report->findings[0].block, world().nodes[level].front());
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
  const std::vector<BlockNo>& leaves = world().nodes[0];
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
  for (const auto& level : world().nodes) {
    for (const BlockNo block : level) garble(disk, block);
  }
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_OK(repaired);
  EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
  EXPECT_EQ(problems_of(disk.copy()), "");
}

// Until the new tree is durable the leaves of the old one are all there is: no new node is written over them.
TEST(Salvage, ARebuildThatIsCutOffAnywhereCostsNothing) {
  bool cut = true;
  std::uint64_t cuts = 0;
  for (std::uint64_t n = 1; cut; n += 3) {
    SCOPED_TRACE(n);
    SimDisk disk(world().image, {.seed = n, .absent_percent = 0, .present_percent = 100});
    garble(disk, world().root);
    ASSERT_OK(disk.flush());
    disk.cut_power_at_write(n);
    static_cast<void>(check::check_volume(disk, {.repair = true, .progress = {}}));
    cut = !disk.powered();
    cuts += cut;
    disk.crash();
    MemoryDisk last(disk.copy());
    const auto repaired = check::check_volume(last, {.repair = true, .progress = {}});
    ASSERT_OK(repaired);
    ASSERT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
    ASSERT_EQ(tree_of(last), world().tree);
  }
  EXPECT_GE(cuts, 5u);
}

// Full but for so many blocks; some 460 leaves of a tree, and the same every time.
void expect_rebuilt_without_loss(std::uint64_t free_blocks, std::uint64_t killed_at_write) {
  StepClock clock;
  MemoryDisk empty(8 * kMiB);
  ASSERT_OK(make_sample_volume(empty, "full", clock));
  Mounted m(empty.copy());
  for (int i = 0; i < 9000; ++i) m.file(kTop, "file" + std::to_string(i));
  const InodeNo large = m.file(kTop, "large");
  for (std::uint64_t at = 0; m->volume().space().free_blocks > free_blocks; at += 4096) {
    const auto written = m->write(large, at, std::vector<std::byte>(4096), false);
    if (!written || *written == 0) break;
  }
  const std::string tree = describe(*take_snapshot(*m.fs));
  ASSERT_OK(m->unmount());
  SimDisk killed(m.disk.copy(), {.absent_percent = 0, .present_percent = 100});
  garble(killed, BlockNo(superblock_of(killed).root.block.get()));
  if (killed_at_write != 0) {
    killed.cut_power_at_write(killed_at_write);
    static_cast<void>(check::check_volume(killed, {.repair = true, .progress = {}}));
    ASSERT_FALSE(killed.powered());
    killed.crash();
  }
  MemoryDisk disk(killed.copy());
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_OK(repaired);
  EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
  EXPECT_EQ(tree_of(disk), tree);
}

// There is no room to keep the leaves until the new ones are durable; it is rebuilt all the same.
TEST(Salvage, ALostRootOfAFullVolumeCostsNothing) { expect_rebuilt_without_loss(0, 0); }

// There just is, and so it may be killed.
TEST(Salvage, ALostRootOfANearlyFullVolumeCostsNothing) { expect_rebuilt_without_loss(1100, 7); }

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
