// Superblock, group table and bitmap of a small volume, patched, checksums mended: what passes its check must be a layout
// that lies within the volume, and nothing that is computed from it may leave it.
//
// Input: log2 of how many times the device is larger (u8), then patches of [superblock, group table block] (see patch()).
#include <algorithm>
#include <bit>

#include "fs/format.h"
#include "fs/format_check.h"
#include "fs/layout.h"
#include "kernel/check.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/damaged_volume.h"

namespace {

using namespace weft;
using namespace weft::fs;

struct Blocks {
  DiskSuperblock superblock;
  DiskGroupTable table;
};

Blocks blocks_of_small_volume() {
  Blocks blocks;
  test::small_volume().read(0, std::as_writable_bytes(std::span(&blocks.superblock, 1)));
  const Layout layout(blocks.superblock);
  const std::uint32_t slot = blocks.superblock.table_slots[0] & 1u;
  test::small_volume().read(layout.table_block(0, slot).value() * kBlockBytes,
                            std::as_writable_bytes(std::span(&blocks.table, 1)));
  return blocks;
}

void check_layout(const DiskSuperblock& superblock) {
  const Layout layout(superblock);
  std::uint64_t fixed = 0;
  for (const BlockRange& area : layout.fixed_areas()) {
    WEFT_CHECK(area.start.value() < layout.block_count && area.count <= layout.block_count - area.start.value());
    WEFT_CHECK(area.count == 0 || (layout.is_fixed(area.start) && layout.is_fixed(area.start + (area.count - 1))));
    fixed += area.count;
  }
  WEFT_CHECK(fixed == layout.fixed_blocks() && fixed <= layout.block_count);
  WEFT_CHECK(layout.data_start() < layout.data_end());
  for (const std::uint64_t group :
       {std::uint64_t{0}, std::uint64_t{layout.group_count} / 2, std::uint64_t{layout.group_count} - 1}) {
    std::byte bitmap[kBlockBytes];
    layout.initial_bitmap(group, bitmap);
    std::uint32_t used = 0;
    for (const std::byte byte : bitmap)
      used += static_cast<std::uint32_t>(std::popcount(std::to_integer<unsigned>(byte)));
    WEFT_CHECK(kBlocksPerGroup - used == layout.initially_free(group));
    WEFT_CHECK(layout.bitmap_block(group, 1).value() < layout.block_count);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  static const Blocks original = blocks_of_small_volume();
  fuzz::FuzzInput input(data, size_bytes);
  const std::uint64_t device_bytes = test::small_volume().size_bytes() << input.take<std::uint8_t>() % 36;
  Blocks blocks = original;
  fuzz::patch(std::as_writable_bytes(std::span(&blocks, 1)), input);
  blocks.superblock.crc = crc_with_hole(as_bytes_of(blocks.superblock), offsetof(DiskSuperblock, crc));
  blocks.table.crc = crc_with_hole(as_bytes_of(blocks.table), offsetof(DiskGroupTable, crc));

  if (!is_superblock(as_bytes_of(blocks.superblock))) return 0;
  if (!check_superblock(blocks.superblock, BlockNo(0), device_bytes)) return 0;
  WEFT_CHECK(blocks.superblock.block_count <= device_bytes / kBlockBytes);
  check_layout(blocks.superblock);
  const Layout layout(blocks.superblock);
  if (!check_group_table(blocks.table, blocks.superblock, layout, 0, layout.table_block(0, 0))) return 0;
  for (std::uint64_t group = 0; group < std::min<std::uint64_t>(layout.group_count, kGroupsPerTableBlock); ++group)
    WEFT_CHECK(blocks.table.groups[group].free_blocks <= layout.blocks_in_group(group));
  std::byte bitmap[kBlockBytes];
  layout.initial_bitmap(0, bitmap);
  static_cast<void>(check_bitmap(bitmap, blocks.table.groups[0], layout, 0, layout.bitmap_block(0, 0)));
  return 0;
}
