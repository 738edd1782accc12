#include "fs/group_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fs/format_check.h"
#include "kernel/check.h"
#include "kernel/crc32c.h"
#include "kernel/planted_bug.h"

namespace weft::fs {
namespace {
constexpr std::uint32_t kAtATime = 64;  // table blocks in a read
}  // namespace

Result<std::unique_ptr<GroupTable>> GroupTable::load(BlockDevice& device, const DiskSuperblock& superblock) {
  std::unique_ptr<GroupTable> result(new GroupTable(device, superblock));
  const Layout& layout = result->layout_;
  result->groups_.resize(layout.group_count);
  // Both slots of many blocks in one read: they lie side by side.
  AlignedBuffer buffer(std::min(layout.table_blocks, kAtATime) * 2 * kBlockBytes);
  for (std::uint32_t from = 0; from < layout.table_blocks; from += kAtATime) {
    const std::uint32_t count = std::min(kAtATime, layout.table_blocks - from);
    TRY(device.read(layout.table_block(from, 0).value() * kBlockBytes, buffer.bytes().first(count * 2 * kBlockBytes)));
    for (std::uint32_t i = 0; i < count; ++i) {
      TRY(result->load_block(from + i, buffer.bytes().subspan(std::size_t{i} * 2 * kBlockBytes, 2 * kBlockBytes)));
    }
  }
  const std::uint64_t free = result->free_blocks();
  if (free != superblock.free_blocks) {
    return fail(
        Errc::kCorrupt,
        fmt::format("superblock of checkpoint {}: field free_blocks is {}, the group table has {}; run fsck.weft",
                    superblock.checkpoint.get(), superblock.free_blocks.get(), free));
  }
  return result;
}

Status GroupTable::load_block(std::uint64_t index, std::span<const std::byte> both_slots) {
  const std::uint32_t slot = table_slot(superblock_, index);
  DiskGroupTable table;
  std::memcpy(&table, both_slots.data() + std::size_t{slot} * kBlockBytes, sizeof(table));
  TRY(check_group_table(table, superblock_, layout_, index, layout_.table_block(index, slot)));
  const std::uint64_t first = index * kGroupsPerTableBlock;
  for (std::uint64_t group = first; group < layout_.group_count && group < first + kGroupsPerTableBlock; ++group) {
    groups_[group] = table.groups[group - first];
  }
  return {};
}

Result<std::unique_ptr<GroupTable>> GroupTable::load_damaged(BlockDevice& device, const DiskSuperblock& superblock,
                                                             std::vector<Damage>& damage) {
  std::unique_ptr<GroupTable> result(new GroupTable(device, superblock));
  const Layout& layout = result->layout_;
  result->groups_.resize(layout.group_count);
  AlignedBuffer buffer(2 * kBlockBytes);
  for (std::uint32_t index = 0; index < layout.table_blocks; ++index) {
    const BlockNo where = layout.table_block(index, table_slot(superblock, index));
    const std::uint64_t at = std::uint64_t{table_slot(superblock, index)} * kBlockBytes;
    Status status = device.read(where.value() * kBlockBytes, buffer.bytes().subspan(at, kBlockBytes));
    if (status) status = result->load_block(index, buffer.bytes());
    if (!status) damage.push_back({index, where, std::move(status).error()});
  }
  return result;
}

std::uint64_t GroupTable::free_blocks() const {
  const std::lock_guard lock(lock_);
  std::uint64_t sum = 0;
  for (const DiskGroup& group : groups_) sum += group.free_blocks;
  return sum;
}

bool GroupTable::is_initialised(std::uint32_t group) const {
  const std::lock_guard lock(lock_);
  return (groups_[group].flags & kGroupUninitialised) == 0;
}

Status GroupTable::load_bitmap(std::uint32_t group, std::span<std::byte, kBlockBytes> bitmap) {
  WEFT_CHECK(group < layout_.group_count);
  DiskGroup entry;
  {
    const std::lock_guard lock(lock_);
    entry = groups_[group];
  }
  if ((entry.flags & kGroupUninitialised) != 0) {
    layout_.initial_bitmap(group, bitmap);
    return {};
  }
  const BlockNo where = layout_.bitmap_block(group, entry.slot);
  TRY(device_.read(where.value() * kBlockBytes, bitmap));
  return check_bitmap(bitmap, entry, layout_, group, where);
}

std::uint64_t GroupTable::verify(const DiskSuperblock& newest, std::uint64_t first, std::uint64_t count,
                                 FunctionRef<void(BlockNo, const Error&)> bad) {
  std::uint64_t blocks = 0;
  AlignedBuffer memory(kBlockBytes);
  const std::span<std::byte, kBlockBytes> buffer(memory.bytes().data(), kBlockBytes);
  const std::uint64_t end = std::min<std::uint64_t>(first + count, layout_.group_count);
  for (std::uint64_t group = first; group < end; ++group) {
    if (group % kGroupsPerTableBlock == 0) {
      const std::uint64_t index = group / kGroupsPerTableBlock;
      const BlockNo where = layout_.table_block(index, table_slot(newest, index));
      ++blocks;
      Status status = device_.read(where.value() * kBlockBytes, buffer);
      if (status) {
        DiskGroupTable table;
        std::memcpy(&table, buffer.data(), sizeof(table));
        status = check_group_table(table, newest, layout_, index, where);
      }
      if (!status) bad(where, status.error());
    }
    DiskGroup entry;
    {
      const std::lock_guard lock(lock_);
      entry = groups_[group];
    }
    if ((entry.flags & kGroupUninitialised) != 0) continue;
    ++blocks;
    const auto number = static_cast<std::uint32_t>(group);
    if (Status status = load_bitmap(number, buffer); !status)
      bad(layout_.bitmap_block(number, entry.slot), status.error());
  }
  return blocks;
}

std::vector<std::uint32_t> GroupTable::free_counts() const {
  const std::lock_guard lock(lock_);
  std::vector<std::uint32_t> counts;
  counts.reserve(groups_.size());
  for (const DiskGroup& group : groups_) counts.push_back(group.free_blocks);
  return counts;
}

GroupTable::Staged GroupTable::stage(const FrozenSpace& frozen, DiskSuperblock& next) const {
  const std::lock_guard lock(lock_);
  Staged staged;
  for (const FrozenGroup& changed : frozen.groups) {
    DiskGroup entry = groups_[changed.group];
    if (!planted(Bug::kBitmapInPlace)) entry.slot ^= 1;
    entry.flags = 0;
    entry.free_blocks = changed.free_blocks;
    entry.bitmap_crc = crc32c(changed.bitmap.bytes());
    staged.groups.emplace_back(changed.group, entry);
    staged.writes.push_back({layout_.bitmap_block(changed.group, entry.slot), changed.bitmap.data()});
    const std::uint32_t index = changed.group / kGroupsPerTableBlock;
    if (staged.table_indexes.empty() || staged.table_indexes.back() != index) staged.table_indexes.push_back(index);
  }
  staged.tables = AlignedBuffer(staged.table_indexes.size() * kBlockBytes);
  auto change = staged.groups.begin();
  for (std::size_t i = 0; i < staged.table_indexes.size(); ++i) {
    const std::uint32_t index = staged.table_indexes[i];
    const std::size_t first = std::size_t{index} * kGroupsPerTableBlock;
    std::vector<DiskGroup> entries(
        groups_.begin() + static_cast<std::ptrdiff_t>(first),
        groups_.begin() + static_cast<std::ptrdiff_t>(std::min(first + kGroupsPerTableBlock, groups_.size())));
    for (; change != staged.groups.end() && change->first / kGroupsPerTableBlock == index; ++change) {
      entries[change->first - first] = change->second;
    }
    DiskGroupTable table;
    fill_group_table(table, next.uuid, next.checkpoint, index, entries);
    std::memcpy(staged.tables.block(i).data(), &table, sizeof(table));
    next.table_slots[index / 8] ^= static_cast<std::uint8_t>(1u << (index % 8));
    staged.writes.push_back({layout_.table_block(index, table_slot(next, index)), staged.tables.block(i).data()});
  }
  return staged;
}

void GroupTable::commit(const Staged& staged) {
  const std::lock_guard lock(lock_);
  for (const auto& [group, entry] : staged.groups) groups_[group] = entry;
}

void fill_group_table(DiskGroupTable& table, const DiskUuid& uuid, std::uint64_t checkpoint, std::uint64_t index,
                      std::span<const DiskGroup> groups) noexcept {
  std::memset(static_cast<void*>(&table), 0, sizeof(table));
  table.magic = kGroupTableMagic;
  table.uuid = uuid;
  table.checkpoint = checkpoint;
  table.index = index;
  std::copy(groups.begin(), groups.end(), table.groups);
  table.crc = crc_with_hole(as_bytes_of(table), offsetof(DiskGroupTable, crc));
}

}  // namespace weft::fs
