// An empty file system out of anything, at any moment of its making.
#include "fs/volume.h"

#include <gtest/gtest.h>

#include "fs/group_table.h"
#include "fs/superblock.h"
#include "kernel/memory_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kDiskBytes = 8 * kMiB;

TEST(MakeVolume, MakesTheSmallestVolume) {
  MemoryDisk disk(kMinVolumeBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  EXPECT_TRUE(find_superblock(disk));
  MemoryDisk smaller(kMinVolumeBytes - kBlockBytes);
  const auto status = test::make_fixed_volume(smaller);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::kNoSpace);
}

TEST(MakeVolume, WritesLittleOfAVolumeOfManyTebibytes) {
  SimDisk disk(64 * kTiB, {});
  ASSERT_TRUE(test::make_fixed_volume(disk));
  EXPECT_LT(disk.counters().written_bytes, 32 * kMiB);
  const DiskSuperblock superblock = test::superblock_of(disk);
  EXPECT_EQ(superblock.group_count, 64 * kTiB / (128 * kMiB));
  EXPECT_TRUE(GroupTable::load(disk, superblock));
}

TEST(MakeVolume, ACrashOnTheWayLeavesNoVolumeOrAWholeOne) {
  for (std::uint64_t n = 1;; ++n) {
    SimDisk::Options options;
    options.seed = n;
    SimDisk disk(kDiskBytes, options);
    ASSERT_TRUE(test::make_fixed_volume(disk, 0, "old"));
    disk.cut_power_at_write(n);
    const auto status = test::make_fixed_volume(disk, 0, "new");
    disk.restart();
    if (status) break;
    const auto found = find_superblock(disk);
    if (!found) continue;
    // The old one while its wiping is not done, or the new one with all it needs.
    EXPECT_TRUE(GroupTable::load(disk, found->superblock)) << "cut at write " << n;
  }
}

TEST(MakeVolume, RefusesWhatItCannotMake) {
  MemoryDisk disk(kDiskBytes);
  EXPECT_FALSE(test::make_fixed_volume(disk, 4 * kMiB)) << "a log of half the volume";
  EXPECT_FALSE(test::make_fixed_volume(disk, 0, std::string(65, 'x')));
  disk.set_read_only(true);
  EXPECT_EQ(test::make_fixed_volume(disk).error().code(), Errc::kReadOnly);
}

}  // namespace
}  // namespace weft::fs
