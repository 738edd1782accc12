// Finding the newest superblock, and refusing those that cannot be.
#include "fs/superblock.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

#include "fs/aligned_buffer.h"
#include "fs/format_check.h"
#include "kernel/memory_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kDiskBytes = 8 * kMiB;

void wipe_block(BlockDevice& device, std::uint64_t block) {
  AlignedBuffer zeros(kBlockBytes);
  ASSERT_TRUE(device.write(block * kBlockBytes, zeros.bytes()));
}

TEST(Superblock, ANewVolumeHasItInAllFourSlots) {
  MemoryDisk disk(kDiskBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  const std::uint64_t blocks = kDiskBytes / kBlockBytes;
  const std::uint64_t slots[] = {0, 1, blocks - 2, blocks - 1};
  for (const std::uint64_t keep : slots) {
    MemoryDisk copy(disk.copy());
    for (const std::uint64_t slot : slots) {
      if (slot != keep) wipe_block(copy, slot);
    }
    const auto found = find_superblock(copy);
    ASSERT_TRUE(found) << found.error().message();
    EXPECT_TRUE(found->slot_unreadable);
    EXPECT_EQ(found->superblock.block_count, blocks);
  }
  EXPECT_FALSE(find_superblock(disk)->slot_unreadable);
}

TEST(Superblock, TheNewestSlotWinsAndATornOneIsPassedOver) {
  MemoryDisk disk(kDiskBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  DiskSuperblock next = test::superblock_of(disk);
  next.checkpoint = 2;
  ASSERT_TRUE(write_superblock(disk, next));
  EXPECT_EQ(find_superblock(disk)->superblock.checkpoint, 2u);
  AlignedBuffer sector(kBlockBytes);
  std::ranges::fill(sector.bytes(), std::byte(1));
  ASSERT_TRUE(disk.write((kDiskBytes / kBlockBytes - 2) * kBlockBytes + 512, sector.bytes().first(512)));
  EXPECT_EQ(find_superblock(disk)->superblock.checkpoint, 1u);
}

TEST(Superblock, AnUnreadableSlotIsPassedOver) {
  SimDisk disk(kDiskBytes, {});
  ASSERT_TRUE(test::make_fixed_volume(disk));
  disk.inject({.op = BlockOp::kRead,
               .kind = SimDisk::FaultKind::kError,
               .times = SimDisk::kForEver,
               .length_bytes = 2 * kBlockBytes});
  EXPECT_TRUE(find_superblock(disk));
}

TEST(Superblock, WhatIsNotAVolumeIsSaidToBeNone) {
  MemoryDisk disk(kDiskBytes);
  const auto found = find_superblock(disk);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Errc::kWrongFormat);
}

TEST(Superblock, ATruncatedImageIsRefusedWithTheSizesInTheMessage) {
  MemoryDisk disk(kDiskBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  MemoryDisk smaller(kDiskBytes / 2);
  AlignedBuffer bytes(kDiskBytes / 2);
  ASSERT_TRUE(disk.read(0, bytes.bytes()));
  ASSERT_TRUE(smaller.write(0, bytes.bytes()));
  const auto found = find_superblock(smaller);
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code(), Errc::kCorrupt);
  EXPECT_NE(found.error().message().find("truncated"), std::string::npos) << found.error().message();
}

TEST(Superblock, SlotsOfAnotherVolumeAtTheFarEndAreNotTakenForOurs) {
  MemoryDisk disk(kDiskBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  DiskSuperblock foreign = test::superblock_of(disk);
  foreign.uuid.bytes[0] ^= 1;
  foreign.checkpoint = 99;
  ASSERT_TRUE(write_superblock_to(disk, foreign, 2));
  EXPECT_EQ(find_superblock(disk)->superblock.checkpoint, 1u);
}

// Every field, set to what cannot be, with a checksum that is right.
TEST(Superblock, ImpossibleFieldsAreRefusedByName) {
  MemoryDisk disk(kDiskBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  const DiskSuperblock good = test::superblock_of(disk);
  ASSERT_TRUE(check_superblock(good, BlockNo(0), kDiskBytes));
  constexpr std::uint64_t kHuge = ~std::uint64_t{0};
  struct Case {
    const char* field;
    std::function<void(DiskSuperblock&)> spoil;
  };
  const Case cases[] = {
      {"version", [](auto& s) { s.version = 2; }},
      {"features", [](auto& s) { s.features_incompat = 1; }},
      {"block_count", [](auto& s) { s.block_count = 3; }},
      {"blocks", [](auto& s) { s.block_count = kHuge; }},
      {"group_count", [](auto& s) { s.group_count = 2; }},
      {"group_count", [](auto& s) { s.group_count = 0; }},
      {"table_blocks", [](auto& s) { s.table_blocks = 0xffffffff; }},
      {"table_start", [](auto& s) { s.table_start = 1; }},
      {"table_start", [](auto& s) { s.table_start = kHuge; }},
      {"bitmap_start", [](auto& s) { s.bitmap_start = s.table_start; }},
      {"bitmap_start", [](auto& s) { s.bitmap_start = kHuge - 1; }},
      {"log_start", [](auto& s) { s.log_start = s.block_count - 3; }},
      {"log_start", [](auto& s) { s.log_start = s.bitmap_start; }},
      {"blocks between them", [](auto& s) { s.log_start = s.log_start + 1; }},
      {"or none for data", [](auto& s) { s.log_start = s.block_count - 2 - s.log_blocks; }},
      {"log_blocks", [](auto& s) { s.log_blocks = 0; }},
      {"log_blocks", [](auto& s) { s.log_blocks = 0xffffffff; }},
      {"checkpoint", [](auto& s) { s.checkpoint = 0; }},
      {"checkpoint", [](auto& s) { s.checkpoint = kHuge; }},
      {"root.block", [](auto& s) { s.root.block = 0; }},
      {"root.block", [](auto& s) { s.root.block = s.log_start; }},
      {"root.block", [](auto& s) { s.root.block = kHuge; }},
      {"root.birth", [](auto& s) { s.root.birth = 2; }},
      {"root_level", [](auto& s) { s.root_level = 16; }},
      {"log_tail_bytes", [](auto& s) { s.log_tail_bytes = s.log_blocks * kBlockBytes; }},
      {"log_tail_bytes", [](auto& s) { s.log_tail_bytes = 17; }},
      {"log_tail_sequence", [](auto& s) { s.log_tail_sequence = 0; }},
      {"log_epoch", [](auto& s) { s.log_epoch = kHuge; }},
      {"next_lsn", [](auto& s) { s.next_lsn = kHuge; }},
      {"next_inode", [](auto& s) { s.next_inode = 1; }},
      {"next_inode", [](auto& s) { s.next_inode = kMaxInodeNo + 1; }},
      {"inode_count", [](auto& s) { s.inode_count = kHuge; }},
      {"free_blocks", [](auto& s) { s.free_blocks = s.block_count; }},
      {"nanoseconds", [](auto& s) { s.mounted.nanoseconds = 1'000'000'000; }},
  };
  for (const Case& one : cases) {
    DiskSuperblock bad = good;
    one.spoil(bad);
    const auto status = check_superblock(bad, BlockNo(1), kDiskBytes);
    ASSERT_FALSE(status) << one.field;
    EXPECT_NE(status.error().message().find(one.field), std::string::npos) << status.error().message();
    EXPECT_NE(status.error().message().find("block 1"), std::string::npos) << status.error().message();
  }
}

TEST(Superblock, RandomBytesNeverPassUnlessTheyAreHarmless) {
  const std::uint64_t seed = 7;
  RecordProperty("seed", std::to_string(seed));
  Random random(seed);
  MemoryDisk disk(kDiskBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  const DiskSuperblock good = test::superblock_of(disk);
  for (int i = 0; i < 20'000; ++i) {
    DiskSuperblock bad = good;
    const auto bytes = as_writable_bytes_of(bad);
    const std::uint64_t at = random.between(12, 311);
    random.fill(bytes.subspan(at, std::min<std::size_t>(random.between(1, 16), 312 - at)));
    if (!check_superblock(bad, BlockNo(0), kDiskBytes)) continue;
    // What passed must be safe to compute with.
    const Layout layout(bad);
    EXPECT_LE(layout.data_start(), layout.data_end());
    EXPECT_LE(bad.log_start + bad.log_blocks, bad.block_count);
  }
}

}  // namespace
}  // namespace weft::fs
