#include "fs/layout.h"

#include <algorithm>
#include <cstring>

#include "kernel/units.h"

namespace weft::fs {

Layout::Layout(const DiskSuperblock& superblock) noexcept
    : block_count(superblock.block_count),
      group_count(superblock.group_count),
      table_start(superblock.table_start.get()),
      table_blocks(superblock.table_blocks),
      bitmap_start(superblock.bitmap_start.get()),
      log_start(superblock.log_start.get()),
      log_blocks(superblock.log_blocks) {}

Layout Layout::plan(std::uint64_t block_count, std::uint32_t log_blocks) noexcept {
  Layout layout;
  layout.block_count = block_count;
  layout.group_count = static_cast<std::uint32_t>(divide_up(block_count, kBlocksPerGroup));
  layout.table_start = BlockNo(2);
  layout.table_blocks = static_cast<std::uint32_t>(divide_up(layout.group_count, kGroupsPerTableBlock));
  layout.bitmap_start = layout.table_start + 2 * std::uint64_t{layout.table_blocks};
  layout.log_start = layout.bitmap_start + 2 * std::uint64_t{layout.group_count};
  layout.log_blocks = log_blocks;
  return layout;
}

std::array<BlockRange, Layout::kAreas> Layout::fixed_areas() const noexcept {
  return {BlockRange{BlockNo(0), 2}, BlockRange{table_start, 2 * std::uint64_t{table_blocks}},
          BlockRange{bitmap_start, 2 * std::uint64_t{group_count}}, BlockRange{log_start, log_blocks},
          BlockRange{BlockNo(block_count - 2), 2}};
}

bool Layout::is_fixed(BlockNo block) const noexcept {
  for (const BlockRange& area : fixed_areas()) {
    if (block >= area.start && block < area.end()) return true;
  }
  return false;
}

BlockNo Layout::data_start() const noexcept {
  const auto areas = fixed_areas();
  BlockNo start;
  for (std::uint32_t i = 0; i + 1 < kAreas; ++i) start = std::max(start, areas[i].end());
  return start;
}

std::uint64_t Layout::fixed_blocks() const noexcept {
  std::uint64_t sum = 0;
  for (const BlockRange& area : fixed_areas()) sum += area.count;
  return sum;
}

std::uint32_t Layout::blocks_in_group(std::uint64_t group) const noexcept {
  const std::uint64_t start = group * kBlocksPerGroup;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(kBlocksPerGroup, block_count - start));
}

namespace {
// Bits [first, first + count) of a group that an area takes.
struct GroupPart {
  std::uint64_t first = 0;
  std::uint64_t count = 0;
};
GroupPart part_in_group(const BlockRange& area, std::uint64_t group, std::uint64_t blocks) noexcept {
  const std::uint64_t start = group * kBlocksPerGroup;
  const std::uint64_t from = std::max(area.start.value(), start);
  const std::uint64_t to = std::min(area.end().value(), start + blocks);
  if (from >= to) return {};
  return {from - start, to - from};
}
}  // namespace

std::uint32_t Layout::initially_free(std::uint64_t group) const noexcept {
  const std::uint32_t blocks = blocks_in_group(group);
  std::uint64_t used = 0;
  for (const BlockRange& area : fixed_areas()) used += part_in_group(area, group, blocks).count;
  return static_cast<std::uint32_t>(blocks - used);
}

void Layout::initial_bitmap(std::uint64_t group, std::span<std::byte> bitmap) const noexcept {
  std::memset(bitmap.data(), 0, bitmap.size());
  const std::uint32_t blocks = blocks_in_group(group);
  for (const BlockRange& area : fixed_areas()) {
    const GroupPart part = part_in_group(area, group, blocks);
    set_bits(bitmap, part.first, part.count);
  }
  set_bits(bitmap, blocks, kBlocksPerGroup - blocks);
}

void set_bits(std::span<std::byte> bitmap, std::uint64_t first, std::uint64_t count) noexcept {
  while (count != 0 && first % 8 != 0) {
    bitmap[first / 8] |= std::byte(1u << (first % 8));
    ++first, --count;
  }
  std::memset(bitmap.data() + first / 8, 0xff, count / 8);
  first += count / 8 * 8;
  count %= 8;
  while (count != 0) {
    bitmap[first / 8] |= std::byte(1u << (first % 8));
    ++first, --count;
  }
}

}  // namespace weft::fs
