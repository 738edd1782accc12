// fs/layout.h - which block of a volume belongs to which of its fixed areas, computed from the superblock.
//
//   make_volume, format_check, volume (group loader), checkpoint  ->  [layout]  ->  format
//
// Fixed areas: superblock slots, group table, bitmaps, log. Everything else holds tree nodes and data. A value;
// thread-safe; never parks. The superblock must have passed check_superblock() before a Layout is made of it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/format.h"
#include "fs/types.h"

namespace weft::fs {

class Layout {
 public:
  Layout() = default;
  explicit Layout(const DiskSuperblock& superblock) noexcept;
  // The layout that make_volume() gives to `block_count` blocks with a log of `log_blocks`.
  static Layout plan(std::uint64_t block_count, std::uint32_t log_blocks) noexcept;

  std::uint64_t block_count = 0;
  std::uint32_t group_count = 0;
  BlockNo table_start;
  std::uint32_t table_blocks = 0;  // per slot
  BlockNo bitmap_start;
  BlockNo log_start;
  std::uint32_t log_blocks = 0;

  static constexpr std::uint32_t kAreas = 5;
  // Ascending by construction of plan(); an older volume's need not be.
  [[nodiscard]] std::array<BlockRange, kAreas> fixed_areas() const noexcept;
  [[nodiscard]] bool is_fixed(BlockNo block) const noexcept;
  [[nodiscard]] std::uint64_t fixed_blocks() const noexcept;
  // Tree nodes and data lie in [data_start, data_end).
  [[nodiscard]] BlockNo data_start() const noexcept;
  [[nodiscard]] BlockNo data_end() const noexcept { return BlockNo(block_count - 2); }

  [[nodiscard]] BlockNo superblock_slot(std::uint32_t slot) const noexcept {
    return slot < 2 ? BlockNo(slot) : BlockNo(block_count - kSuperblockSlots + slot);
  }
  [[nodiscard]] BlockNo table_block(std::uint64_t index, std::uint32_t slot) const noexcept {
    return table_start + 2 * index + slot;
  }
  [[nodiscard]] BlockNo bitmap_block(std::uint64_t group, std::uint32_t slot) const noexcept {
    return bitmap_start + 2 * group + slot;
  }
  [[nodiscard]] std::uint64_t log_bytes() const noexcept { return std::uint64_t{log_blocks} * kBlockBytes; }
  [[nodiscard]] std::uint64_t log_offset_bytes() const noexcept { return log_start.value() * kBlockBytes; }

  // All groups have kBlocksPerGroup but the last.
  [[nodiscard]] std::uint32_t blocks_in_group(std::uint64_t group) const noexcept;
  // What an uninitialised group has free.
  [[nodiscard]] std::uint32_t initially_free(std::uint64_t group) const noexcept;
  // Writes the bitmap of an uninitialised group: fixed areas and bits past the end set.
  void initial_bitmap(std::uint64_t group, std::span<std::byte> bitmap) const noexcept;
};

// Sets `count` bits from `first`; both within the bitmap.
void set_bits(std::span<std::byte> bitmap, std::uint64_t first, std::uint64_t count) noexcept;
[[nodiscard]] inline bool bit_is_set(std::span<const std::byte> bitmap, std::uint64_t bit) noexcept {
  return (std::to_integer<unsigned>(bitmap[bit / 8]) >> (bit % 8) & 1u) != 0;
}

}  // namespace weft::fs
