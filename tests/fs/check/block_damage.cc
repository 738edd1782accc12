#include "tests/fs/check/block_damage.h"

#include <array>
#include <cstring>

#include "fs/aligned_buffer.h"
#include "fs/check/checked_volume.h"
#include "fs/file_map.h"
#include "fs/format_check.h"
#include "fs/group_table.h"
#include "fs/layout.h"
#include "fs/log_reader.h"
#include "fs/superblock.h"
#include "kernel/bytes.h"
#include "kernel/crc32c.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

struct NodeList final : BTree::Visitor {
  bool on_node(BlockNo block, std::uint8_t level) override {
    if (levels.size() <= level) levels.resize(level + 1u);
    levels[level].push_back(block);
    return true;
  }
  void on_item(Key, std::span<const std::byte>) override {}
  void on_lost(const BTree::LostNode&, const Error&) override { ADD_FAILURE(); }
  std::vector<std::vector<BlockNo>> levels;
};

// Where the last erasure of a name in the log stands on the device, and the record that it is in.
std::uint64_t last_erasure(BlockDevice& disk, std::uint64_t& record_at) {
  const DiskSuperblock superblock = find_superblock(disk)->superblock;
  const Layout layout(superblock);
  LogReader reader(disk, superblock.uuid, layout);
  std::uint64_t found = 0;
  for (std::uint64_t at = superblock.log_tail_bytes;;) {
    const auto record = reader.record_at(at);
    if (!record || !*record || (*record)->header.epoch != superblock.log_epoch) return found;
    std::span<const std::byte> rest = (*record)->transactions();
    for (std::uint32_t i = 0; i < (*record)->header.transactions; ++i) {
      const std::size_t length = check_transaction(rest, layout).value();
      EXPECT_TRUE(for_each_change(rest.first(length), [&](const ChangeView& change) -> Status {
        if (change.kind == ChangeKind::kErase && change.key.kind() == KeyKind::kDirent) {
          const auto offset = static_cast<std::uint64_t>(change.value.data() - (*record)->bytes.data());
          record_at = layout.log_offset_bytes() + at;
          found = record_at + offset - sizeof(DiskChange);
        }
        return {};
      }));
      rest = rest.subspan(length);
    }
    at += (*record)->header.stored_bytes;
  }
}

std::vector<std::byte> read_bytes(BlockDevice& disk, std::uint64_t offset, std::size_t count) {
  std::vector<std::byte> bytes;
  for (std::uint64_t at = round_down(offset, kBlockBytes); at < offset + count; at += kBlockBytes) {
    const auto page = read_block(disk, BlockNo(at / kBlockBytes));
    bytes.insert(bytes.end(), page.begin(), page.end());
  }
  bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(offset % kBlockBytes));
  bytes.resize(count);
  return bytes;
}

void write_bytes(BlockDevice& disk, std::uint64_t offset, std::span<const std::byte> bytes) {
  const std::uint64_t start = round_down(offset, kBlockBytes);
  auto blocks = read_bytes(disk, start, round_up(offset + bytes.size(), kBlockBytes) - start);
  std::memcpy(blocks.data() + (offset - start), bytes.data(), bytes.size());
  for (std::size_t at = 0; at < blocks.size(); at += kBlockBytes) {
    write_block(disk, BlockNo((start + at) / kBlockBytes), std::span(blocks).subspan(at, kBlockBytes));
  }
}

}  // namespace

std::vector<std::byte> read_block(BlockDevice& disk, BlockNo block) {
  AlignedBuffer buffer(kBlockBytes);
  EXPECT_OK(disk.read(block.value() * kBlockBytes, buffer.bytes()));
  return {buffer.bytes().begin(), buffer.bytes().end()};
}
void write_block(BlockDevice& disk, BlockNo block, std::span<const std::byte> bytes) {
  AlignedBuffer buffer(kBlockBytes);
  std::memcpy(buffer.bytes().data(), bytes.data(), kBlockBytes);
  EXPECT_OK(disk.write(block.value() * kBlockBytes, buffer.bytes()));
}
void garble(BlockDevice& disk, BlockNo block) {
  write_block(disk, block, std::vector<std::byte>(kBlockBytes, std::byte{0x5a}));
}

BlockNo current_table(BlockDevice& disk) {
  const DiskSuperblock superblock = superblock_of(disk);
  return Layout(superblock).table_block(0, table_slot(superblock, 0));
}

BlockNo current_bitmap(BlockDevice& disk) {
  DiskGroupTable table;
  std::memcpy(&table, read_block(disk, current_table(disk)).data(), sizeof(table));
  return Layout(superblock_of(disk)).bitmap_block(0, table.groups[0].slot);
}

void edit_superblock(BlockDevice& disk, const std::function<void(DiskSuperblock&)>& change) {
  DiskSuperblock superblock = superblock_of(disk);
  change(superblock);
  EXPECT_OK(write_superblock(disk, superblock));
  EXPECT_OK(write_superblock_copy(disk, superblock));
}

void edit_group(BlockDevice& disk, const std::function<void(DiskGroup&, GroupBitmap&)>& change) {
  const DiskSuperblock superblock = superblock_of(disk);
  const Layout layout(superblock);
  const BlockNo where = current_table(disk);
  std::vector<std::byte> bytes = read_block(disk, where);
  DiskGroupTable table;
  std::memcpy(&table, bytes.data(), sizeof(table));
  const BlockNo at = layout.bitmap_block(0, table.groups[0].slot);
  std::vector<std::byte> map = read_block(disk, at);
  GroupBitmap bits;
  bits.load(std::span<const std::byte, kBlockBytes>(map.data(), kBlockBytes));
  change(table.groups[0], bits);
  bits.store(std::span<std::byte, kBlockBytes>(map.data(), kBlockBytes));
  table.groups[0].bitmap_crc = crc32c(map);
  table.groups[0].free_blocks = kBlocksPerGroup - bits.count_set();
  const std::vector<DiskGroup> groups(table.groups, table.groups + layout.group_count);
  fill_group_table(table, superblock.uuid, table.checkpoint, 0, groups);
  std::memcpy(bytes.data(), &table, sizeof(table));
  write_block(disk, where, bytes);
  write_block(disk, at, map);
  edit_superblock(disk, [&](DiskSuperblock& next) { next.free_blocks = table.groups[0].free_blocks.get(); });
}

std::vector<BlockRange> free_runs(BlockDevice& disk) {
  const std::vector<std::byte> map = read_block(disk, current_bitmap(disk));
  GroupBitmap bits;
  bits.load(std::span<const std::byte, kBlockBytes>(map.data(), kBlockBytes));
  std::vector<BlockRange> runs;
  for (std::uint32_t bit = bits.next_clear(0); bit < kBlocksPerGroup;) {
    const std::uint32_t end = bits.next_set(bit);
    runs.push_back({BlockNo(bit), end - bit});
    bit = bits.next_clear(end);
  }
  return runs;
}

std::vector<std::vector<BlockNo>> nodes_of(BlockDevice& disk) {
  NodeList nodes;
  auto volume = *check::CheckedVolume::open(disk, fixed_clock());
  EXPECT_OK(volume->examine({}));
  EXPECT_OK(volume->walk(nodes));
  return nodes.levels;
}

void garble_data(BlockDevice& disk, InodeNo inode, std::uint64_t block_of_file) {
  DiskExtent extent;
  {
    auto volume = *check::CheckedVolume::open(disk, fixed_clock());
    EXPECT_OK(volume->examine({}));
    const auto bytes = volume->get(extent_key(inode, FileBlock(0)));
    ASSERT_TRUE(bytes && *bytes);
    std::memcpy(&extent, (*bytes)->data(), sizeof(extent));
    ASSERT_LT(block_of_file, extent.length);
  }
  garble(disk, BlockNo(extent.block + block_of_file));
}

// Behind the first one, at the next multiple of its unit.
void lose_second_record(BlockDevice& disk) {
  const DiskSuperblock superblock = superblock_of(disk);
  const std::uint64_t log = superblock.log_start * kBlockBytes + superblock.log_tail_bytes;
  DiskRecord first;
  std::memcpy(&first, read_bytes(disk, log, sizeof(first)).data(), sizeof(first));
  ASSERT_EQ(first.magic, kRecordMagic);
  std::array<std::byte, kLogUnitBytes> ones;
  ones.fill(std::byte{1});
  write_bytes(disk, log + first.stored_bytes, ones);
}

void unfit_last_erasure(BlockDevice& disk) {
  std::uint64_t record_at = 0;
  const std::uint64_t at = last_erasure(disk, record_at);
  ASSERT_NE(at, 0u);
  DiskChange change;
  std::memcpy(&change, read_bytes(disk, at, sizeof(change)).data(), sizeof(change));
  change.key.tag = change.key.tag ^ 0x5500;
  write_bytes(disk, at, as_bytes_of(change));
  DiskRecord header;
  std::memcpy(&header, read_bytes(disk, record_at, sizeof(header)).data(), sizeof(header));
  const le32 crc = crc_with_hole(read_bytes(disk, record_at, header.length_bytes), offsetof(DiskRecord, crc));
  write_bytes(disk, record_at + offsetof(DiskRecord, crc), as_bytes_of(crc));
}

}  // namespace weft::fs::test
