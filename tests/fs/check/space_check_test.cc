// Damage to superblocks, group table, bitmaps and log; blocks of two owners; and a power cut at every write of a repair.
#include <cstring>
#include <vector>

#include "fs/check/checked_volume.h"
#include "fs/layout.h"
#include "fs/orphan.h"
#include "tests/fs/check/block_damage.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/fs_fixture.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs::test {
namespace {

using check::CheckedVolume;
using check::Problem;

struct Image {
  Image() {
    Mounted m(16 * kMiB);
    for (int i = 0; i < 40; ++i) m.write(m.file(kTop, "file" + std::to_string(i)), 0, std::string(20'000, 'a'));
    tree = describe(*take_snapshot(*m.fs));
    first = m.find(kTop, "file0");
    second = m.find(kTop, "file1");
    EXPECT_OK(m->unmount());
    image = m.disk.copy();
  }
  std::string tree;
  InodeNo first, second;
  DiskImage image{16 * kMiB};
};

const Image& volume() {
  static const Image volume;
  return volume;
}

std::vector<Problem> kinds_of(const check::CheckReport& report) {
  std::vector<Problem> kinds;
  for (const check::Finding& finding : report.findings) kinds.push_back(finding.problem);
  return kinds;
}

// Finds exactly that, repairs it, finds nothing more; the tree is as before.
void expect_repaired(MemoryDisk& disk, const std::vector<Problem>& found) {
  const auto report = check::check_volume(disk, {});
  ASSERT_OK(report);
  EXPECT_EQ(kinds_of(*report), found) << text_of(*report);
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_OK(repaired);
  EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
  EXPECT_EQ(problems_of(disk.copy()), "") << "after\n" << text_of(*repaired);
  Mounted m(disk.copy());
  EXPECT_EQ(describe(*take_snapshot(*m.fs)), volume().tree);
}

TEST(SpaceCheck, FindsCopiesOfTheSuperblockThatAreNone) {
  for (std::uint32_t slot = 0; slot < kSuperblockSlots; ++slot) {
    SCOPED_TRACE(slot);
    MemoryDisk disk(volume().image);
    garble(disk, Layout(superblock_of(disk)).superblock_slot(slot));
    expect_repaired(disk, {Problem::kSuperblockSlot});
  }
}

TEST(SpaceCheck, TakesATornCopyOfTheSuperblockForWhatItIs) {
  MemoryDisk disk(volume().image);
  const BlockNo where = Layout(superblock_of(disk)).superblock_slot((superblock_of(disk).checkpoint + 2) % 4);
  auto bytes = read_block(disk, where);
  bytes[2048] ^= std::byte{1};  // the slots of the group table are of another checkpoint
  write_block(disk, where, bytes);
  const auto report = check::check_volume(disk, {});
  ASSERT_OK(report);
  EXPECT_TRUE(report->clean()) << text_of(*report);
  ASSERT_EQ(report->notes.size(), 1u);
  EXPECT_NE(report->notes[0].find("torn"), std::string::npos);
}

TEST(SpaceCheck, FindsABadGroupTable) {
  MemoryDisk disk(volume().image);
  garble(disk, current_table(disk));
  expect_repaired(disk, {Problem::kGroupTable});
}

TEST(SpaceCheck, FindsABadBitmap) {
  MemoryDisk disk(volume().image);
  garble(disk, current_bitmap(disk));
  expect_repaired(disk, {Problem::kBitmap});
}

TEST(SpaceCheck, FindsBlocksInUseThatAreMarkedFree) {
  MemoryDisk disk(volume().image);
  edit_group(disk, [&](DiskGroup&, GroupBitmap& bits) {
    const auto root = static_cast<std::uint32_t>(superblock_of(disk).root.block.get());
    bits.clear(root, 1);
  });
  expect_repaired(disk, {Problem::kUsedMarkedFree});
}

TEST(SpaceCheck, FindsBlocksThatNobodyUses) {
  MemoryDisk disk(volume().image);
  edit_group(disk, [&](DiskGroup&, GroupBitmap& bits) { bits.set(bits.next_clear(2000), 3); });
  expect_repaired(disk, {Problem::kFreeMarkedUsed});
}

TEST(SpaceCheck, FindsCountsOfTheSuperblockThatAreWrong) {
  const auto with = [](const std::function<void(DiskSuperblock&)>& change, Problem problem) {
    MemoryDisk disk(volume().image);
    edit_superblock(disk, change);
    expect_repaired(disk, {problem});
  };
  with([](DiskSuperblock& s) { s.inode_count = 7; }, Problem::kInodeCount);
  with([](DiskSuperblock& s) { s.free_blocks = 7; }, Problem::kFreeCount);
}

// The second file claims the first one's blocks, whose checksums prove whose they are.
TEST(SpaceCheck, GivesABlockOfTwoFilesToTheOneWhoseChecksumFits) {
  for (const bool swapped : {false, true}) {
    SCOPED_TRACE(swapped);
    InodeNo honest, thief;
    const DiskImage image = [&] {
      Mounted m(16 * kMiB);
      honest = m.file(kTop, "x");
      thief = m.file(kTop, "y");
      if (swapped) std::swap(honest, thief);
      m.write(honest, 0, std::string(20'000, 'h'));
      m.write(thief, 0, std::string(20'000, 't'));
      EXPECT_OK(m->unmount());
      return m.disk.copy();
    }();
    MemoryDisk disk(image);
    {
      auto vandal = *CheckedVolume::open(disk, system_clock());
      EXPECT_OK(vandal->examine({}));
      DiskExtent mine, theirs;
      std::memcpy(&mine, (*vandal->get(Key(honest, KeyKind::kExtent, 0)))->data(), sizeof(mine));
      auto bytes = **vandal->get(Key(thief, KeyKind::kExtent, 0));
      std::memcpy(&theirs, bytes.data(), sizeof(theirs));
      ASSERT_EQ(theirs.length, 5u);
      theirs.block = mine.block + 3;  // the last two of his, and what comes behind
      std::memcpy(bytes.data(), &theirs, sizeof(theirs));
      EXPECT_OK(vandal->put(Key(thief, KeyKind::kExtent, 0), bytes));
      EXPECT_OK(vandal->write(true));
    }
    const auto report = check::check_volume(disk, {});
    ASSERT_OK(report);
    bool twice = false;
    for (const check::Finding& finding : report->findings) {
      if (finding.problem != Problem::kClaimedTwice) continue;
      twice = true;
      EXPECT_EQ(finding.inode, thief) << finding.message;
    }
    EXPECT_TRUE(twice) << text_of(*report);
    const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
    ASSERT_OK(repaired);
    EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
    EXPECT_EQ(problems_of(disk.copy()), "");
    Mounted m(disk.copy());
    EXPECT_EQ(m.read(honest), std::string(20'000, 'h'));
  }
}

// A log of which a record is missing that was flushed: what came before it is kept.
TEST(SpaceCheck, FindsALogThatHasLostWhatWasAcknowledged) {
  Mounted m(16 * kMiB);
  m.file(kTop, "before");
  EXPECT_OK(m->sync());
  m.file(kTop, "lost");
  EXPECT_OK(m->sync());
  m.file(kTop, "after");
  EXPECT_OK(m->sync());
  m.file(kTop, "after2");
  EXPECT_OK(m->sync());
  m.fs.reset();
  MemoryDisk disk(m.disk.copy());
  lose_second_record(disk);
  const auto report = check::check_volume(disk, {});
  ASSERT_OK(report);
  EXPECT_EQ(kinds_of(*report), std::vector{Problem::kLog}) << text_of(*report);
  const auto safe = check::check_volume(disk, {.repair = true, .only_safe = true, .progress = {}});
  ASSERT_OK(safe);
  EXPECT_EQ(safe->uncorrected, 1u);
  const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
  ASSERT_OK(repaired);
  EXPECT_EQ(repaired->uncorrected, 0u);
  EXPECT_EQ(problems_of(disk.copy()), "");
  Mounted again(disk.copy());
  EXPECT_EQ(again.list(kTop), (std::vector<std::string>{".", "..", "before"}));
}

// The power goes off at any write of a repair: the next one ends it.
TEST(SpaceCheck, ARepairThatIsCutOffIsEndedByTheNext) {
  MemoryDisk damaged(volume().image);
  {
    auto vandal = *CheckedVolume::open(damaged, system_clock());
    EXPECT_OK(vandal->examine({}));
    EXPECT_OK(vandal->erase(Key(volume().first, KeyKind::kInode, 0)));
    EXPECT_OK(vandal->put(orphan_key(InodeNo(99)), {}));
    EXPECT_OK(vandal->write(true));
  }
  edit_group(damaged, [&](DiskGroup&, GroupBitmap& bits) { bits.set(bits.next_clear(2000), 3); });
  bool cut = true;
  std::uint64_t cuts = 0;
  for (std::uint64_t n = 1; cut; ++n) {
    SCOPED_TRACE(n);
    SimDisk disk(damaged.copy(), {.seed = n});
    disk.cut_power_at_write(n);
    static_cast<void>(check::check_volume(disk, {.repair = true, .progress = {}}));
    cut = !disk.powered();
    cuts += cut;
    disk.crash();
    const auto repaired = check::check_volume(disk, {.repair = true, .progress = {}});
    ASSERT_OK(repaired);
    EXPECT_EQ(repaired->uncorrected, 0u) << text_of(*repaired);
    ASSERT_EQ(problems_of(disk.copy()), "");
  }
  EXPECT_GE(cuts, 5u);
}

}  // namespace
}  // namespace weft::fs::test
