#include "tools/volume_view.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fs/btree_node.h"
#include "fs/format_check.h"
#include "fs/format_check_node.h"
#include "fs/group_table.h"
#include "fs/superblock.h"

namespace weft::tools {

using fs::BlockNo;
using fs::kBlockBytes;

Result<VolumeView> VolumeView::open(BlockDevice& device) {
  const fs::FoundSuperblock found = TRY(fs::find_superblock(device));
  return VolumeView(device, found.superblock);
}

Status VolumeView::read_block(BlockNo block, std::span<std::byte, kBlockBytes> into) const {
  if (block.value() >= layout_.block_count) {
    return fail(Errc::kInvalid, fmt::format("the volume has {} blocks, there is none with the number {}",
                                            layout_.block_count, block.value()));
  }
  fs::AlignedBuffer buffer(kBlockBytes);
  TRY(device_->read(block.value() * kBlockBytes, buffer.bytes()));
  std::memcpy(into.data(), buffer.bytes().data(), kBlockBytes);
  return {};
}

std::array<SuperblockSlot, fs::kSuperblockSlots> VolumeView::slots() const {
  std::array<SuperblockSlot, fs::kSuperblockSlots> slots;
  for (std::uint32_t i = 0; i < fs::kSuperblockSlots; ++i) {
    SuperblockSlot& slot = slots[i];
    slot.slot = i;
    slot.block = layout_.superblock_slot(i);
    std::array<std::byte, kBlockBytes> block;
    if (auto read = read_block(slot.block, block); !read) {
      slot.wrong = read.error().message();
      continue;
    }
    std::memcpy(&slot.superblock, block.data(), sizeof(slot.superblock));
    slot.whole = fs::is_superblock(block);
    if (!slot.whole) {
      slot.wrong = slot.superblock.magic == fs::kSuperblockMagic ? "its checksum does not match" : "not a superblock";
    } else if (!(slot.superblock.uuid == superblock_.uuid)) {
      slot.wrong = "it belongs to another volume";
    } else if (auto good = check_superblock(slot.superblock, slot.block, device_->geometry().size_bytes); !good) {
      slot.wrong = good.error().message();
    }
  }
  return slots;
}

Result<fs::DiskGroup> VolumeView::group(std::uint64_t group) {
  if (group >= layout_.group_count) {
    return fail(Errc::kInvalid,
                fmt::format("the volume has {} groups, there is none with the number {}", layout_.group_count, group));
  }
  const std::uint64_t index = group / fs::kGroupsPerTableBlock;
  if (index != table_index_) {
    const BlockNo where = layout_.table_block(index, fs::table_slot(superblock_, index));
    auto table = std::make_unique<fs::DiskGroupTable>();
    TRY(read_block(where, std::span<std::byte, kBlockBytes>(as_writable_bytes_of(*table))));
    TRY(check_group_table(*table, superblock_, layout_, index, where));
    table_ = std::move(table);
    table_index_ = index;
  }
  return table_->groups[group % fs::kGroupsPerTableBlock];
}

Status VolumeView::bitmap(std::uint64_t number, std::span<std::byte, kBlockBytes> into) {
  const fs::DiskGroup entry = TRY(group(number));
  if ((entry.flags & fs::kGroupUninitialised) != 0) {
    layout_.initial_bitmap(number, into);
    return {};
  }
  const BlockNo where = layout_.bitmap_block(number, entry.slot);
  TRY(read_block(where, into));
  return check_bitmap(into, entry, layout_, number, where);
}

Result<bool> VolumeView::is_used(BlockNo block) {
  std::array<std::byte, kBlockBytes> bits;
  TRY(bitmap(block.value() / fs::kBlocksPerGroup, bits));
  return fs::bit_is_set(bits, block.value() % fs::kBlocksPerGroup);
}

void VolumeView::walk(FunctionRef<bool(const NodeVisit&)> visit) const {
  walk_below(superblock_.root, static_cast<std::uint8_t>(superblock_.root_level.get()), fs::Key::lowest(),
             fs::Key::highest(), 0, visit);
}

// Ends for any bytes: the level sinks, and a node fits one place of one parent only, since its bounds must be the entry's.
bool VolumeView::walk_below(const fs::DiskNodeRef& ref, std::uint8_t level, fs::Key low, fs::Key high, unsigned depth,
                            FunctionRef<bool(const NodeVisit&)> visit) const {
  std::array<std::byte, kBlockBytes> page{};
  const BlockNo block(ref.block.get());
  NodeVisit met{.block = block, .depth = depth, .level = level, .page = page, .wrong = {}};
  if (auto read = read_block(block, page); !read) {
    met.wrong = read.error().message();
  } else {
    const fs::NodeExpectation expected{.block = block,
                                       .birth = fs::CheckpointNo(ref.birth.get()),
                                       .level = level,
                                       .low = low,
                                       .high = high,
                                       .uuid = superblock_.uuid,
                                       .first_block = layout_.data_start(),
                                       .end_block = layout_.data_end()};
    if (auto good = check_node(page, expected); !good) met.wrong = good.error().message();
  }
  if (!visit(met)) return false;
  if (!met.wrong.empty() || level == 0) return true;
  const fs::NodePage node(page.data());
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    if (!walk_below(node.entries()[i].child, static_cast<std::uint8_t>(level - 1), node.entry_key(i),
                    node.entry_high(i), depth + 1, visit)) {
      return false;
    }
  }
  return true;
}

std::string VolumeView::area_of(BlockNo block) const {
  const auto within = [&](BlockNo start, std::uint64_t count) { return block >= start && block < start + count; };
  for (std::uint32_t slot = 0; slot < fs::kSuperblockSlots; ++slot) {
    if (block == layout_.superblock_slot(slot)) return fmt::format("superblock slot {}", slot);
  }
  if (within(layout_.table_start, 2 * std::uint64_t{layout_.table_blocks})) {
    const std::uint64_t place = block - layout_.table_start;
    const bool current = fs::table_slot(superblock_, place / 2) == place % 2;
    return fmt::format("group table block {}, place {} ({})", place / 2, place % 2,
                       current ? "current" : "not current");
  }
  if (within(layout_.bitmap_start, 2 * std::uint64_t{layout_.group_count})) {
    const std::uint64_t place = block - layout_.bitmap_start;
    return fmt::format("bitmap of group {}, place {}", place / 2, place % 2);
  }
  if (within(layout_.log_start, layout_.log_blocks)) {
    return fmt::format("log, from its byte {}", (block - layout_.log_start) * kBlockBytes);
  }
  return "for tree nodes and data";
}

}  // namespace weft::tools
