#include "fs/format_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernel/crc32c.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

// Numbers that count up for ever are refused long before they could wrap.
constexpr std::uint64_t kMaxCounter = std::uint64_t{1} << 62;

template <typename T>
T load(std::span<const std::byte> bytes, std::size_t offset = 0) noexcept {
  T object;
  std::memcpy(&object, bytes.data() + offset, sizeof(T));
  return object;
}

bool known_kind(KeyKind kind) noexcept { return kind >= KeyKind::kInode && kind <= KeyKind::kOrphan; }

// Whether all of `range` lies in the data area.
bool is_data(const Layout& layout, BlockRange range) noexcept {
  if (range.count == 0 || range.start < layout.data_start() || range.start >= layout.data_end()) return false;
  return range.count <= layout.data_end() - range.start;
}

std::unexpected<Error> bad_superblock(BlockNo where, std::string_view field, std::uint64_t value) {
  return fail(Errc::kCorrupt,
              fmt::format("superblock at block {}: field {} cannot be {}; run fsck.weft", where.value(), field, value));
}

Status check_areas(const DiskSuperblock& superblock, BlockNo where) {
  const std::uint64_t blocks = superblock.block_count;
  if (superblock.group_count != divide_up(blocks, kBlocksPerGroup) || superblock.group_count > kMaxGroups) {
    return bad_superblock(where, "group_count", superblock.group_count);
  }
  if (superblock.table_blocks != divide_up(superblock.group_count, kGroupsPerTableBlock)) {
    return bad_superblock(where, "table_blocks", superblock.table_blocks);
  }
  if (superblock.log_blocks < kMinLogBlocks || superblock.log_blocks > kMaxLogBlocks) {
    return bad_superblock(where, "log_blocks", superblock.log_blocks);
  }
  struct Area {
    std::string_view field;
    std::uint64_t start;
    std::uint64_t count;
  };
  const Area areas[] = {{"table_start", superblock.table_start, 2 * std::uint64_t{superblock.table_blocks}},
                        {"bitmap_start", superblock.bitmap_start, 2 * std::uint64_t{superblock.group_count}},
                        {"log_start", superblock.log_start, superblock.log_blocks}};
  for (const Area& area : areas) {
    // The subtraction cannot wrap: a volume has at least kMinVolumeBytes.
    if (area.start < 2 || area.start >= blocks - 2 || area.count > blocks - 2 - area.start) {
      return bad_superblock(where, area.field, area.start);
    }
    for (const Area& other : areas) {
      if (&other == &area) break;
      if (other.start < area.start + area.count && area.start < other.start + other.count) {
        return bad_superblock(where, area.field, area.start);
      }
    }
  }
  return {};
}

}  // namespace

std::uint32_t crc_with_hole(std::span<const std::byte> block, std::size_t crc_offset) noexcept {
  static constexpr std::byte kZeros[4]{};
  std::uint32_t crc = crc32c(block.first(crc_offset));
  crc = crc32c(kZeros, crc);
  return crc32c(block.subspan(crc_offset + 4), crc);
}

std::string uuid_text(const DiskUuid& uuid) {
  std::string text;
  for (std::size_t i = 0; i < sizeof(uuid.bytes); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += fmt::format("{:02x}", uuid.bytes[i]);
  }
  return text;
}

bool is_superblock(std::span<const std::byte> block) noexcept {
  if (block.size() < kBlockBytes) return false;
  return load<le64>(block) == kSuperblockMagic &&
         load<le32>(block, offsetof(DiskSuperblock, crc)) ==
             crc_with_hole(block.first(kBlockBytes), offsetof(DiskSuperblock, crc));
}

Status check_superblock(const DiskSuperblock& superblock, BlockNo where, std::uint64_t device_bytes) {
  if (superblock.version != kFormatVersion) {
    return fail(Errc::kWrongFormat,
                fmt::format("superblock at block {}: format version {}, this program knows version {}", where.value(),
                            superblock.version.get(), kFormatVersion));
  }
  if (const std::uint64_t unknown = superblock.features_incompat & ~kFeaturesIncompatKnown; unknown != 0) {
    return fail(Errc::kWrongFormat,
                fmt::format("superblock at block {}: made with features this program does not know (incompat {:#x})",
                            where.value(), unknown));
  }
  const std::uint64_t blocks = superblock.block_count;
  if (blocks < kMinVolumeBytes / kBlockBytes) return bad_superblock(where, "block_count", blocks);
  if (blocks > device_bytes / kBlockBytes) {
    return fail(
        Errc::kCorrupt,
        fmt::format("superblock at block {}: the volume has {} blocks, its device only {}: a truncated image, or a "
                    "partition made smaller; enlarge the device to {} bytes",
                    where.value(), blocks, device_bytes / kBlockBytes,
                    blocks <= UINT64_MAX / kBlockBytes ? blocks * kBlockBytes : UINT64_MAX));
  }
  TRY(check_areas(superblock, where));
  const Layout layout(superblock);
  // In any order, but with nothing between them: such blocks would count as free and belong to nobody.
  constexpr std::uint64_t kFarSlots = kSuperblockSlots / 2;
  if (layout.data_start().value() != layout.fixed_blocks() - kFarSlots || layout.data_start() >= layout.data_end()) {
    return fail(
        Errc::kCorrupt,
        fmt::format("superblock at block {}: its areas leave blocks between them, or none for data; run fsck.weft",
                    where.value()));
  }

  const std::uint64_t checkpoint = superblock.checkpoint;
  if (checkpoint == 0 || checkpoint > kMaxCounter) return bad_superblock(where, "checkpoint", checkpoint);
  if (!is_data(layout, {BlockNo(superblock.root.block.get()), 1})) {
    return bad_superblock(where, "root.block", superblock.root.block);
  }
  if (superblock.root.birth == 0 || superblock.root.birth > checkpoint) {
    return bad_superblock(where, "root.birth", superblock.root.birth);
  }
  if (superblock.root_level > kMaxLevel) return bad_superblock(where, "root_level", superblock.root_level);
  if (superblock.log_tail_bytes >= layout.log_bytes() || superblock.log_tail_bytes % kLogUnitBytes != 0) {
    return bad_superblock(where, "log_tail_bytes", superblock.log_tail_bytes);
  }
  if (superblock.log_tail_sequence == 0 || superblock.log_tail_sequence > kMaxCounter) {
    return bad_superblock(where, "log_tail_sequence", superblock.log_tail_sequence);
  }
  if (superblock.log_epoch == 0 || superblock.log_epoch > kMaxCounter) {
    return bad_superblock(where, "log_epoch", superblock.log_epoch);
  }
  if (superblock.next_lsn == 0 || superblock.next_lsn > kMaxCounter) {
    return bad_superblock(where, "next_lsn", superblock.next_lsn);
  }
  if (superblock.next_inode < kFirstFreeInode.value() || superblock.next_inode > kMaxInodeNo) {
    return bad_superblock(where, "next_inode", superblock.next_inode);
  }
  if (superblock.inode_count == 0 || superblock.inode_count >= superblock.next_inode) {
    return bad_superblock(where, "inode_count", superblock.inode_count);
  }
  if (superblock.free_blocks > blocks - layout.fixed_blocks()) {
    return bad_superblock(where, "free_blocks", superblock.free_blocks);
  }
  for (const DiskTime* time : {&superblock.created, &superblock.mounted, &superblock.checked}) {
    if (time->nanoseconds >= 1'000'000'000) return bad_superblock(where, "nanoseconds", time->nanoseconds);
  }
  return {};
}

Status check_group_table(const DiskGroupTable& table, const DiskSuperblock& superblock, const Layout& layout,
                         std::uint64_t index, BlockNo where) {
  const auto bad = [&](std::string_view what) {
    return fail(Errc::kCorrupt, fmt::format("group table at block {}: {}; run fsck.weft", where.value(), what));
  };
  if (table.magic != kGroupTableMagic) return bad("no magic number");
  if (table.crc != crc_with_hole(as_bytes_of(table), offsetof(DiskGroupTable, crc)))
    return bad("its checksum does not match");
  if (!(table.uuid == superblock.uuid)) return bad("it belongs to another volume");
  if (table.index != index)
    return bad(fmt::format("says that it is block {} of the table, not {}", table.index.get(), index));
  if (table.checkpoint == 0 || table.checkpoint > superblock.checkpoint) {
    return bad(
        fmt::format("written by checkpoint {}, the newest is {}", table.checkpoint.get(), superblock.checkpoint.get()));
  }
  for (std::uint32_t i = 0; i < kGroupsPerTableBlock; ++i) {
    const DiskGroup& group = table.groups[i];
    const std::uint64_t number = index * kGroupsPerTableBlock + i;
    if (number >= layout.group_count) break;
    if (group.slot > 1 || (group.flags & ~kGroupUninitialised) != 0) {
      return bad(fmt::format("group {}: slot {} or flags {:#x} cannot be", number, group.slot, group.flags));
    }
    const std::uint32_t most = layout.initially_free(number);
    if (group.free_blocks > most || ((group.flags & kGroupUninitialised) != 0 && group.free_blocks != most)) {
      return bad(
          fmt::format("group {}: cannot have {} of at most {} blocks free", number, group.free_blocks.get(), most));
    }
  }
  return {};
}

Status check_bitmap(std::span<const std::byte> bitmap, const DiskGroup& group, const Layout& layout,
                    std::uint64_t index, BlockNo where) {
  const auto bad = [&](std::string_view what) {
    return fail(Errc::kCorrupt,
                fmt::format("bitmap of group {} at block {}: {}; run fsck.weft", index, where.value(), what));
  };
  if (crc32c(bitmap) != group.bitmap_crc) return bad("its checksum does not match");
  std::byte fixed[kBlockBytes];
  layout.initial_bitmap(index, fixed);
  std::uint32_t used = 0;
  for (std::size_t i = 0; i < kBlockBytes; i += 8) {
    const std::uint64_t word = load<le64>(bitmap, i);
    const std::uint64_t must = load<le64>(fixed, i);
    if ((must & ~word) != 0) return bad("shows blocks of the fixed areas, or past the end, as free");
    used += static_cast<std::uint32_t>(std::popcount(word));
  }
  if (kBlocksPerGroup - used != group.free_blocks) {
    return bad(
        fmt::format("has {} free blocks, the group table says {}", kBlocksPerGroup - used, group.free_blocks.get()));
  }
  return {};
}

std::uint32_t MapView::checksum(std::size_t index) const noexcept { return load<le32>(checksums, index * 4); }

MapView map_view(const ChangeView& change) noexcept {
  const auto extent = load<DiskExtent>(change.value);
  return {{BlockNo(extent.block.get()), extent.length},
          extent.birth,
          extent.flags,
          change.value.subspan(sizeof(DiskExtent))};
}

namespace {
Status check_map(const ChangeView& change, const Layout& layout) {
  if (change.key.kind() != KeyKind::kExtent) return fail(Errc::kCorrupt, "a map change whose key is not an extent's");
  if (change.value.size() < sizeof(DiskExtent)) return fail(Errc::kCorrupt, "a map change without its extent");
  const MapView map = map_view(change);
  const std::uint64_t length = map.blocks.count;
  if ((map.flags & ~kExtentFlagsKnown) != 0) return fail(Errc::kCorrupt, fmt::format("extent flags {:#x}", map.flags));
  const bool plain = (map.flags & (kExtentUnwritten | kExtentNoChecksum)) != 0;
  if (length == 0 || length > (plain ? kMaxPlainBlocks : kMaxChecksummedBlocks)) {
    return fail(Errc::kCorrupt, fmt::format("an extent of {} blocks", length));
  }
  if (map.checksums.size() != (plain ? 0 : length * 4)) {
    return fail(Errc::kCorrupt, fmt::format("{} bytes of checksums for {} blocks", map.checksums.size(), length));
  }
  if (change.key.offset() + length > kMaxFileBytes / kBlockBytes) {
    return fail(Errc::kCorrupt, fmt::format("an extent at file block {}", change.key.offset()));
  }
  if (!is_data(layout, map.blocks)) {
    return fail(Errc::kCorrupt,
                fmt::format("an extent at blocks {}+{}, which are not for data", map.blocks.start.value(), length));
  }
  return {};
}

Status check_change(const ChangeView& change, const Layout& layout) {
  if (!known_kind(change.key.kind())) {
    return fail(Errc::kCorrupt, fmt::format("a key of kind {}", static_cast<unsigned>(change.key.kind())));
  }
  if (change.key.object >= kMaxInodeNo)
    return fail(Errc::kCorrupt, fmt::format("a key of inode {}", change.key.object));
  if ((change.flags & ~kChangeFreshData) != 0)
    return fail(Errc::kCorrupt, fmt::format("change flags {:#x}", change.flags));
  switch (change.kind) {
    case ChangeKind::kPut:
      if (change.value.size() > kMaxValueBytes)
        return fail(Errc::kCorrupt, fmt::format("a value of {} bytes", change.value.size()));
      return {};
    case ChangeKind::kErase:
      if (!change.value.empty()) return fail(Errc::kCorrupt, "an erasure with a value");
      return {};
    case ChangeKind::kMap: return check_map(change, layout);
    case ChangeKind::kUnmap: {
      if (change.key.kind() != KeyKind::kExtent || change.value.size() != sizeof(le64)) {
        return fail(Errc::kCorrupt, "an unmap change that is not one");
      }
      const std::uint64_t length = load<le64>(change.value);
      if (length == 0 || length > kMaxKeyOffset || change.key.offset() + length > kMaxKeyOffset + 1) {
        return fail(Errc::kCorrupt, fmt::format("an unmap of {} blocks from {}", length, change.key.offset()));
      }
      return {};
    }
  }
  return fail(Errc::kCorrupt, fmt::format("a change of kind {}", static_cast<unsigned>(change.kind)));
}
}  // namespace

Status for_each_change(std::span<const std::byte> transaction, FunctionRef<Status(const ChangeView&)> visit) {
  const auto header = load<DiskTransaction>(transaction);
  std::size_t at = sizeof(DiskTransaction);
  for (std::uint32_t i = 0; i < header.changes; ++i) {
    if (transaction.size() - at < sizeof(DiskChange))
      return fail(Errc::kCorrupt, "a transaction that ends within a change");
    const auto change = load<DiskChange>(transaction, at);
    at += sizeof(DiskChange);
    if (transaction.size() - at < change.value_length)
      return fail(Errc::kCorrupt, "a transaction that ends within a value");
    TRY(visit({static_cast<ChangeKind>(change.kind), change.flags, Key::from_raw(change.key.object, change.key.tag),
               transaction.subspan(at, change.value_length)}));
    at += change.value_length;
  }
  if (at != transaction.size()) return fail(Errc::kCorrupt, "a transaction that is longer than its changes");
  return {};
}

Result<std::size_t> check_transaction(std::span<const std::byte> bytes, const Layout& layout) {
  if (bytes.size() < sizeof(DiskTransaction)) return fail(Errc::kCorrupt, "a record that ends within a transaction");
  const std::uint32_t length = load<DiskTransaction>(bytes).length_bytes;
  if (length < sizeof(DiskTransaction) || length > kMaxTransactionBytes || length > bytes.size()) {
    return fail(Errc::kCorrupt, fmt::format("a transaction of {} bytes", length));
  }
  TRY(for_each_change(bytes.first(length), [&](const ChangeView& change) { return check_change(change, layout); }));
  return length;
}

bool plausible_record(const DiskRecord& record, const DiskUuid& uuid, std::uint64_t room_bytes) noexcept {
  return record.magic == kRecordMagic && record.uuid == uuid && record.length_bytes >= sizeof(DiskRecord) &&
         record.length_bytes <= record.stored_bytes && record.stored_bytes % kLogUnitBytes == 0 &&
         record.stored_bytes <= kMaxRecordBytes && record.stored_bytes <= room_bytes && record.sequence < kMaxCounter &&
         record.first_lsn < kMaxCounter && record.flushed_sequence < record.sequence &&
         (record.transactions != 0 || record.length_bytes == sizeof(DiskRecord));
}

bool record_crc_matches(std::span<const std::byte> record) noexcept {
  return load<le32>(record, offsetof(DiskRecord, crc)) == crc_with_hole(record, offsetof(DiskRecord, crc));
}

}  // namespace weft::fs
