// tools/volume_view.h - a volume as it lies on the disk, without mounting it: slots, tables, bitmaps and tree nodes one by one.
//
//   weft_info, weft_dump, weft_stat  ->  [volume_view]  ->  block device
//
// Shows the last checkpoint; what only the log has is fs/volume's to add. Nothing is believed before its check has passed,
// and damage is handed to the caller beside the bytes, so that what is broken can be looked at. Writes nothing.
// Thread-safety: none. Blocks on the device. Tests: tests/tools/weft_commands_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/format.h"
#include "fs/key.h"
#include "fs/layout.h"
#include "kernel/block_device.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::tools {

struct SuperblockSlot {
  std::uint32_t slot = 0;
  fs::BlockNo block;
  bool whole = false;  // magic and checksum are right; then `superblock` is what was written
  fs::DiskSuperblock superblock;
  std::string wrong;  // empty: nothing
};

// A tree node as the walk meets it. `wrong` is empty for a good one; of a bad one nothing below is visited.
struct NodeVisit {
  fs::BlockNo block;
  unsigned depth = 0;  // 0: the root
  std::uint8_t level = 0;
  std::span<const std::byte, fs::kBlockBytes> page;
  std::string wrong;
};

class VolumeView {
 public:
  // Errors of fs::find_superblock(). `device` outlives the view.
  static Result<VolumeView> open(BlockDevice& device);

  [[nodiscard]] const fs::DiskSuperblock& superblock() const noexcept { return superblock_; }
  [[nodiscard]] const fs::Layout& layout() const noexcept { return layout_; }
  [[nodiscard]] BlockDevice& device() const noexcept { return *device_; }

  // kInvalid for a block past the end of the volume.
  Status read_block(fs::BlockNo block, std::span<std::byte, fs::kBlockBytes> into) const;
  [[nodiscard]] std::array<SuperblockSlot, fs::kSuperblockSlots> slots() const;

  // The current block of the group table that `group` is in; kCorrupt if it is damaged.
  Result<fs::DiskGroup> group(std::uint64_t group);
  // The current bitmap, also of a group that was never written; kCorrupt if it or the entry is damaged.
  Status bitmap(std::uint64_t group, std::span<std::byte, fs::kBlockBytes> into);
  // Whether the last checkpoint uses the block.
  Result<bool> is_used(fs::BlockNo block);

  // Every node from the root down, parents first, in order of keys, until `visit` returns false.
  void walk(FunctionRef<bool(const NodeVisit&)> visit) const;

  // Bytes of the fixed area or tree kind a block belongs to, as people call it: "superblock slot 1", "log".
  [[nodiscard]] std::string area_of(fs::BlockNo block) const;

 private:
  explicit VolumeView(BlockDevice& device, const fs::DiskSuperblock& superblock)
      : device_(&device), superblock_(superblock), layout_(superblock) {}
  bool walk_below(const fs::DiskNodeRef& ref, std::uint8_t level, fs::Key low, fs::Key high, unsigned depth,
                  FunctionRef<bool(const NodeVisit&)> visit) const;

  BlockDevice* device_;
  fs::DiskSuperblock superblock_;
  fs::Layout layout_;
  std::unique_ptr<fs::DiskGroupTable> table_;  // the table block read last
  std::uint64_t table_index_ = ~std::uint64_t{0};
};

}  // namespace weft::tools
