// fs/format_check.h - looks at every field of a superblock, a group table, a bitmap and a log record before use.
//
//   superblock, volume (group loader), journal_replay, fsck  ->  [format_check]  ->  format
//
// Bytes from disk are hostile until they have passed here: every number is in range, every sum of them fits, every
// area lies inside the volume and off the others. Messages name the block and the field. Nodes: fs/btree_node.
// Thread-safe, never parks. Tests: tests/fs/format_check_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "fs/format.h"
#include "fs/key.h"
#include "fs/layout.h"
#include "fs/types.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs {

// crc32c of `block` taking the four bytes at `crc_offset` for zero.
std::uint32_t crc_with_hole(std::span<const std::byte> block, std::size_t crc_offset) noexcept;
// "0c3a1b2e-..." as people write it.
std::string uuid_text(const DiskUuid& uuid);

// Magic and checksum only: whether these bytes are a superblock at all.
[[nodiscard]] bool is_superblock(std::span<const std::byte> block) noexcept;
// The rest. `where` is the block it was read from. kWrongFormat: a version or feature this program does not know;
// kCorrupt: fields that cannot be true, or a volume that is larger than its device.
Status check_superblock(const DiskSuperblock& superblock, BlockNo where, std::uint64_t device_bytes);
inline constexpr std::uint64_t kFeaturesIncompatKnown = 0;
inline constexpr std::uint64_t kFeaturesRoCompatKnown = 0;

// Block `index` of the group table, read from `where`.
Status check_group_table(const DiskGroupTable& table, const DiskSuperblock& superblock, const Layout& layout,
                         std::uint64_t index, BlockNo where);
// The bitmap of an initialised group against its entry, which has passed check_group_table().
Status check_bitmap(std::span<const std::byte> bitmap, const DiskGroup& group, const Layout& layout,
                    std::uint64_t index, BlockNo where);

// One change of a transaction. `value` borrows the transaction's bytes.
struct ChangeView {
  ChangeKind kind;
  std::uint8_t flags;
  Key key;
  std::span<const std::byte> value;
};
// The extent of a kMap change and its checksums (none where a flag says so).
struct MapView {
  BlockRange blocks;
  std::uint64_t birth;
  std::uint32_t flags;
  std::span<const std::byte> checksums;  // le32 each
  [[nodiscard]] std::uint32_t checksum(std::size_t index) const noexcept;
};
MapView map_view(const ChangeView& change) noexcept;

// Length of the transaction at the start of `bytes` once all of it has been looked at; kCorrupt otherwise.
Result<std::size_t> check_transaction(std::span<const std::byte> bytes, const Layout& layout);
// Visits the changes of a transaction that has passed check_transaction(), or that we made; ends at the first error.
Status for_each_change(std::span<const std::byte> transaction, FunctionRef<Status(const ChangeView&)> visit);

// A record's own fields against each other and the log's size; its checksum when `bytes` holds all of it.
[[nodiscard]] bool plausible_record(const DiskRecord& record, const DiskUuid& uuid, std::uint64_t room_bytes) noexcept;
[[nodiscard]] bool record_crc_matches(std::span<const std::byte> record) noexcept;

}  // namespace weft::fs
