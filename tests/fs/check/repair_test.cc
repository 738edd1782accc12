// Each kind of damage to what the tree holds: found as what it is, repaired, and what it did not touch still there.
#include <dirent.h>

#include <algorithm>
#include <vector>

#include "fs/file_map.h"
#include "kernel/bytes.h"
#include "tests/fs/check/block_damage.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/check/damages.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

using check::Problem;

TEST(Repair, EachDamageIsFoundAsWhatItIsAndPutRight) {
  const SoundVolume& world = sound_volume();
  for (const Damage& damage : damages()) {
    SCOPED_TRACE(damage.name);
    MemoryDisk disk(world.image);
    {
      Vandal vandal(disk);
      damage.plant(vandal, world);
    }
    const auto report = check::check_volume(disk, {});
    ASSERT_OK(report);
    std::vector<Problem> found;
    for (const check::Finding& finding : report->findings) found.push_back(finding.problem);
    EXPECT_EQ(found, damage.found) << text_of(*report);
    EXPECT_EQ(report->uncorrected, found.size());
    EXPECT_FALSE(report->changed);

    const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
    ASSERT_OK(repaired);
    EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
    EXPECT_EQ(repaired->found, found.size());
    EXPECT_EQ(problems_of(disk.copy()), "") << "after\n" << text_of(*repaired);
    Mounted m(disk.copy());
    const auto tree = take_snapshot(*m.fs);
    ASSERT_OK(tree);
    if (damage.after == After::kSameTree) {
      EXPECT_EQ(describe(*tree), world.tree);
    }
    for (const std::string& path : damage.paths) EXPECT_TRUE(tree->contains(path)) << path << "\n" << describe(*tree);
    if (damage.after == After::kNewRoot) continue;
    for (const char* untouched : {"/other", "/symlink"}) EXPECT_TRUE(tree->contains(untouched));
  }
}

// Extents claim each free block but so many: in which the nodes lie that say so, or the ones before them.
void claim_all_but(std::uint64_t spare, const std::vector<BlockRange>& free, Vandal& vandal, InodeNo inode) {
  std::uint64_t at = 100;
  for (const BlockRange& run : free) {
    const std::uint64_t skipped = std::min(spare, run.count);
    spare -= skipped;
    if (skipped == run.count) continue;
    DiskExtent extent{};
    extent.block = run.start.value() + skipped;
    extent.length = static_cast<std::uint32_t>(run.count - skipped);
    extent.flags = kExtentUnwritten;
    vandal.put(extent_key(inode, FileBlock(at)), as_bytes_of(extent));
    at += run.count;
  }
}

TEST(Repair, NeedsNoMoreRoomThanTheNodesOnTheWayToWhatItChanges) {
  MemoryDisk disk(sound_volume().image);
  const std::vector<BlockRange> free = free_runs(disk);
  {
    Vandal vandal(disk);
    claim_all_but(2, free, vandal, sound_volume().hostile);
  }
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_OK(repaired);
  EXPECT_NE(repaired->found, 0u);
  EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
  EXPECT_EQ(repaired->used_blocks + 2, repaired->total_blocks);
  EXPECT_EQ(problems_of(disk.copy()), "");
}

// lost+found is to be made, and the leaf may have to be split for it.
TEST(Repair, ThatHasNoRoomSaysSoAndChangesNothing) {
  const SoundVolume& world = sound_volume();
  MemoryDisk disk(world.image);
  const std::vector<BlockRange> free = free_runs(disk);
  {
    Vandal vandal(disk);
    vandal.erase(vandal.name_key(kRootInode, "symlink"));
    vandal.edit(kRootInode, [](DiskInode& record) { record.entry_count = record.entry_count - 1; });
    claim_all_but(4, free, vandal, world.hostile);
  }
  const std::uint64_t before = disk.copy().hash();
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_FALSE(repaired);
  EXPECT_EQ(repaired.error(), Errc::kNoSpace) << repaired.error().message();
  EXPECT_EQ(disk.copy().hash(), before);
}

TEST(Repair, IsSafeWithoutThrowingAnythingAway) {
  const SoundVolume& world = sound_volume();
  MemoryDisk disk(world.image);
  {
    Vandal vandal(disk);
    vandal.edit(world.other, [](DiskInode& record) { record.links = 1; });
    vandal.add_name(world.directory, "ghost", InodeNo(99), DT_REG);
  }
  const auto report = check::check_volume(disk, {.repair = true, .only_safe = true, .progress = {}});
  ASSERT_OK(report);
  EXPECT_EQ(report->found, 2u);
  EXPECT_EQ(report->uncorrected, 1u);
  EXPECT_EQ(problems_of(disk.copy()),
            "name-target: directory 16: has a name of inode 99, which does not exist; the name is removed\n");
}

}  // namespace
}  // namespace weft::fs::test
