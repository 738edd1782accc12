// fs/make_volume.cc - writes an empty file system; the other way into existence, besides Volume::open(), of everything on disk.
//
//   mkfs.weft -> [make_volume] -> block device
//
// Order: old superblocks wiped and flushed; everything but the superblock written and flushed; then all four superblock slots. So a
// crash on the way leaves no volume, and never half of one that calls itself whole. A group without anything but fixed
// areas gets no bitmap (kGroupUninitialised), so that a sparse image of many TiB takes milliseconds and kilobytes.
// Tests: tests/fs/make_volume_test.cc.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/format.h"
#include "fs/format_check.h"
#include "fs/group_table.h"
#include "fs/layout.h"
#include "fs/superblock.h"
#include "fs/volume.h"
#include "kernel/crc32c.h"
#include "kernel/random.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kLeastLogBytes = std::uint64_t{kMinLogBlocks} * kBlockBytes;
constexpr std::uint64_t kMostDefaultLogBytes = 128 * kMiB;

Result<std::uint32_t> choose_log_blocks(std::uint64_t volume_bytes, std::uint64_t asked_bytes) {
  std::uint64_t bytes = asked_bytes;
  if (bytes == 0) bytes = std::clamp(volume_bytes / 64, kLeastLogBytes, kMostDefaultLogBytes);
  bytes = round_up(bytes, kBlockBytes);
  const std::uint64_t most = std::min<std::uint64_t>(std::uint64_t{kMaxLogBlocks} * kBlockBytes, volume_bytes / 4);
  if (bytes < kLeastLogBytes || bytes > most) {
    return fail(Errc::kInvalid, fmt::format("a log of {} bytes; a volume of this size takes {} to {}", asked_bytes,
                                            kLeastLogBytes, most));
  }
  return static_cast<std::uint32_t>(bytes / kBlockBytes);
}

void fill_root_node(std::span<std::byte> block, const DiskSuperblock& superblock, std::uint32_t uid,
                    std::uint32_t gid) {
  DiskInode inode{};
  inode.mode = S_IFDIR | 0755;
  inode.uid = uid;
  inode.gid = gid;
  inode.links = 2;
  inode.accessed = inode.modified = inode.changed = inode.created = superblock.created;
  inode.generation = 1;
  inode.parent = kRootInode.value();
  inode.version = 1;
  DiskLeafSlot slot{};
  const Key key(kRootInode, KeyKind::kInode, 0);
  slot.key.object = key.object;
  slot.key.tag = key.tag;
  slot.offset = kBlockBytes - sizeof(inode);
  slot.length = sizeof(inode);
  DiskNode node{};
  node.magic = kNodeMagic;
  node.uuid = superblock.uuid;
  node.block = superblock.root.block;
  node.birth = superblock.root.birth;
  node.high.object = Key::highest().object;
  node.high.tag = Key::highest().tag;
  node.count = 1;
  node.heap_start = slot.offset;
  std::memcpy(block.data(), &node, sizeof(node));
  std::memcpy(block.data() + sizeof(node), &slot, sizeof(slot));
  std::memcpy(block.data() + slot.offset, &inode, sizeof(inode));
  const le32 crc = crc_with_hole(block, offsetof(DiskNode, crc));
  std::memcpy(block.data() + offsetof(DiskNode, crc), &crc, sizeof(crc));
}

// Superblock slots, of the new volume and where an older one of the same device may have had them.
Status wipe_slots(BlockDevice& device, const Layout& layout) {
  AlignedBuffer zeros(kBlockBytes);
  const std::uint64_t device_blocks = device.geometry().size_bytes / kBlockBytes;
  for (std::uint32_t slot = 0; slot < kSuperblockSlots; ++slot) {
    TRY(device.write(layout.superblock_slot(slot).value() * kBlockBytes, zeros.bytes()));
  }
  for (std::uint64_t block = std::max(device_blocks - 2, layout.block_count); block < device_blocks; ++block) {
    TRY(device.write(block * kBlockBytes, zeros.bytes()));
  }
  return device.flush();
}

// So that the first record of an older log is gone.
Status wipe_log_head(BlockDevice& device, const Layout& layout) {
  AlignedBuffer zeros(std::min<std::uint64_t>(64 * kKiB, layout.log_bytes()));
  return device.write(layout.log_offset_bytes(), zeros.bytes());
}

Status write_tables(BlockDevice& device, const Layout& layout, const DiskSuperblock& superblock,
                    std::uint64_t root_group, const DiskGroup& root_entry) {
  constexpr std::uint32_t kAtATime = 64;
  AlignedBuffer buffer(std::min(layout.table_blocks, kAtATime) * 2 * kBlockBytes);
  std::vector<DiskGroup> groups;
  for (std::uint32_t from = 0; from < layout.table_blocks; from += kAtATime) {
    const std::uint32_t count = std::min(kAtATime, layout.table_blocks - from);
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint64_t index = from + i;
      const std::uint64_t first = index * kGroupsPerTableBlock;
      groups.clear();
      for (std::uint64_t group = first; group < layout.group_count && group < first + kGroupsPerTableBlock; ++group) {
        DiskGroup entry{};
        entry.flags = kGroupUninitialised;
        entry.free_blocks = layout.initially_free(group);
        groups.push_back(group == root_group ? root_entry : entry);
      }
      DiskGroupTable table;
      fill_group_table(table, superblock.uuid, superblock.checkpoint, index, groups);
      // Both slots, side by side: nothing of an older table stays behind.
      std::memcpy(buffer.block(2 * i).data(), &table, sizeof(table));
      std::memcpy(buffer.block(2 * i + 1).data(), &table, sizeof(table));
    }
    TRY(device.write(layout.table_block(from, 0).value() * kBlockBytes, buffer.bytes().first(count * 2 * kBlockBytes)));
  }
  return {};
}

// In parts, so that a slow device can be seen to work. One that does not take the discard is no worse for it.
void discard_all(BlockDevice& device, const MakeVolumeOptions& options) {
  constexpr std::uint64_t kPart = std::uint64_t{4} << 30;
  const std::uint64_t total = round_down(device.geometry().size_bytes, kBlockBytes);
  for (std::uint64_t done = 0; done < total;) {
    if (options.progress) options.progress(done, total);
    const std::uint64_t part = std::min(kPart, total - done);
    if (!device.discard(done, part)) return;
    done += part;
  }
}

}  // namespace

Status make_volume(BlockDevice& device, const MakeVolumeOptions& options, std::uint32_t uid, std::uint32_t gid) {
  Clock& clock = options.clock != nullptr ? *options.clock : system_clock();
  const BlockDevice::Geometry geometry = device.geometry();
  const std::uint64_t block_count =
      std::min<std::uint64_t>(geometry.size_bytes / kBlockBytes, kMaxGroups * kBlocksPerGroup);
  if (geometry.read_only) return fail(Errc::kReadOnly, fmt::format("{}: is read-only", device.name()));
  if (geometry.size_bytes < kMinVolumeBytes) {
    return fail(Errc::kNoSpace, fmt::format("{}: {} bytes; the smallest volume is {}", device.name(),
                                            geometry.size_bytes, kMinVolumeBytes));
  }
  if (options.label.size() > sizeof(DiskSuperblock::label)) {
    return fail(Errc::kInvalid, fmt::format("a label of {} bytes; the longest is {}", options.label.size(),
                                            sizeof(DiskSuperblock::label)));
  }
  const std::uint32_t log_blocks = TRY(choose_log_blocks(block_count * kBlockBytes, options.log_bytes));
  const Layout layout = Layout::plan(block_count, log_blocks);

  DiskSuperblock superblock{};
  superblock.magic = kSuperblockMagic;
  superblock.version = kFormatVersion;
  superblock.uuid = options.uuid;
  Entropy& entropy = options.entropy != nullptr ? *options.entropy : system_entropy();
  if (options.uuid == DiskUuid{}) {
    entropy.fill(as_writable_bytes_of(superblock.uuid));
    superblock.uuid.bytes[6] =
        static_cast<std::uint8_t>((superblock.uuid.bytes[6] & 0x0f) | 0x40);  // RFC 9562: version 4
    superblock.uuid.bytes[8] = static_cast<std::uint8_t>((superblock.uuid.bytes[8] & 0x3f) | 0x80);
  }
  std::memcpy(superblock.label, options.label.data(), options.label.size());
  superblock.block_count = block_count;
  superblock.checkpoint = 1;
  superblock.root_level = 0;
  superblock.group_count = layout.group_count;
  superblock.table_start = layout.table_start.value();
  superblock.table_blocks = layout.table_blocks;
  superblock.log_blocks = layout.log_blocks;
  superblock.bitmap_start = layout.bitmap_start.value();
  superblock.log_start = layout.log_start.value();
  superblock.log_tail_sequence = 1;
  const Timespec now = clock.wall();
  // From the time, so that a log left behind by a volume with the same uuid is of an older epoch.
  const auto seconds = static_cast<std::uint64_t>(std::max<std::int64_t>(now.seconds, 0));
  superblock.log_epoch = (seconds * 1'000'000'000 + now.nanoseconds) % (std::uint64_t{1} << 61) + 1;
  superblock.next_lsn = 1;
  superblock.next_inode = kFirstFreeInode.value();
  superblock.inode_count = 1;
  entropy.fill(std::as_writable_bytes(std::span(superblock.hash_seed)));
  superblock.created = disk_time(now);
  superblock.checked = disk_time(now);

  const BlockNo root = layout.data_start();
  if (root.value() >= block_count - 2) {
    return fail(Errc::kNoSpace,
                fmt::format("{}: a log of {} blocks leaves no room for files", device.name(), log_blocks));
  }
  superblock.root.block = root.value();
  superblock.root.birth = 1;
  const std::uint64_t root_group = root.value() / kBlocksPerGroup;
  AlignedBuffer bitmap(kBlockBytes);
  layout.initial_bitmap(root_group, bitmap.bytes());
  set_bits(bitmap.bytes(), root.value() % kBlocksPerGroup, 1);
  DiskGroup root_entry{};
  root_entry.free_blocks = layout.initially_free(root_group) - 1;
  root_entry.bitmap_crc = crc32c(bitmap.bytes());
  superblock.free_blocks = block_count - layout.fixed_blocks() - 1;
  TRY(check_superblock(superblock, BlockNo(0), geometry.size_bytes));

  TRY(wipe_slots(device, layout));
  if (options.discard && geometry.can_discard) discard_all(device, options);
  TRY(wipe_log_head(device, layout));
  TRY(write_tables(device, layout, superblock, root_group, root_entry));
  TRY(device.write(layout.bitmap_block(root_group, 0).value() * kBlockBytes, bitmap.bytes()));
  AlignedBuffer node(kBlockBytes);
  fill_root_node(node.bytes(), superblock, uid, gid);
  TRY(device.write(root.value() * kBlockBytes, node.bytes()));
  TRY(device.flush());
  for (std::uint32_t slot = 0; slot < kSuperblockSlots; ++slot) TRY(write_superblock_to(device, superblock, slot));
  return device.flush();
}

}  // namespace weft::fs
