// fs/check/space_map.h - which blocks are in use by what the tree says, whatever the bitmaps say.
//
//   tree_scan -> [space_map] -> space_check ; Allocator, as the bitmaps it starts from
//
// A bitmap for each group in which something is claimed; a group without one has its fixed areas in use and nothing else. So repair
// allocates by what is there, and cannot be led by a damaged bitmap to write over a file.
// Not thread-safe while claims are made. Tests: tests/fs/check/space_check_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "fs/allocator.h"
#include "fs/allocator_group.h"
#include "fs/layout.h"

namespace weft::fs::check {

class SpaceMap final : public BitmapSource {
 public:
  explicit SpaceMap(const Layout& layout) : layout_(layout) {}

  // `range` lies in the data area. What of it had been claimed before is added to `twice`.
  void claim(BlockRange range, std::vector<BlockRange>& twice);
  [[nodiscard]] bool is_claimed(BlockNo block) const;
  // Null: only fixed areas.
  [[nodiscard]] const GroupBitmap* group(std::uint32_t number) const;
  [[nodiscard]] std::vector<std::uint32_t> free_counts() const;
  [[nodiscard]] std::uint64_t free_blocks() const;

  Status load_bitmap(std::uint32_t group, std::span<std::byte, kBlockBytes> bitmap) override;

 private:
  GroupBitmap& make(std::uint32_t number);

  const Layout layout_;
  std::unordered_map<std::uint32_t, std::unique_ptr<GroupBitmap>> groups_;
};

// Adjacent ranges become one.
void append_range(std::vector<BlockRange>& ranges, BlockRange range);

}  // namespace weft::fs::check
