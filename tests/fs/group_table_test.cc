// Which bitmaps and table blocks are believed.
#include "fs/group_table.h"

#include <gtest/gtest.h>

#include <functional>

#include "fs/format_check.h"
#include "fs/superblock.h"
#include "kernel/memory_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kDiskBytes = 8 * kMiB;

TEST(GroupTable, ImpossibleEntriesAreRefused) {
  MemoryDisk disk(300 * kMiB);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  const DiskSuperblock superblock = test::superblock_of(disk);
  const Layout layout(superblock);
  ASSERT_EQ(layout.group_count, 3u);
  ASSERT_TRUE(GroupTable::load(disk, superblock));
  alignas(kBlockBytes) DiskGroupTable good;
  ASSERT_TRUE(disk.read(layout.table_block(0, 0).value() * kBlockBytes, as_writable_bytes_of(good)));
  const std::function<void(DiskGroupTable&)> spoils[] = {
      [](auto& t) { t.magic = 0; },
      [](auto& t) { t.uuid.bytes[3] ^= 1; },
      [](auto& t) { t.index = 1; },
      [](auto& t) { t.checkpoint = 2; },
      [](auto& t) { t.groups[1].slot = 2; },
      [](auto& t) { t.groups[1].flags = 2; },
      [](auto& t) { t.groups[0].free_blocks = kBlocksPerGroup; },
      [](auto& t) { t.groups[2].free_blocks = 0xffffffff; },
      [](auto& t) { t.groups[1].free_blocks = 5; },  // uninitialised, yet not all free
  };
  for (const auto& spoil : spoils) {
    DiskGroupTable bad = good;
    spoil(bad);
    bad.crc = crc_with_hole(as_bytes_of(bad), offsetof(DiskGroupTable, crc));
    EXPECT_FALSE(check_group_table(bad, superblock, layout, 0, layout.table_block(0, 0)));
  }
  DiskGroupTable rotten = good;
  rotten.groups[0].free_blocks = rotten.groups[0].free_blocks - 1;
  EXPECT_FALSE(check_group_table(rotten, superblock, layout, 0, layout.table_block(0, 0)));
}

TEST(GroupTable, ABitmapThatRottedIsNotBelieved) {
  SimDisk disk(kDiskBytes, {});
  ASSERT_TRUE(test::make_fixed_volume(disk));
  const DiskSuperblock superblock = test::superblock_of(disk);
  const auto groups = GroupTable::load(disk, superblock);
  ASSERT_TRUE(groups);
  alignas(kBlockBytes) std::byte bitmap[kBlockBytes];
  ASSERT_TRUE((*groups)->load_bitmap(0, bitmap));
  EXPECT_TRUE(bit_is_set(bitmap, superblock.root.block));
  disk.rot(Layout(superblock).bitmap_block(0, 0).value() * kBlockBytes, kBlockBytes);
  const auto status = (*groups)->load_bitmap(0, bitmap);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace weft::fs
