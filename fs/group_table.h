// fs/group_table.h - the group table in memory: where each group's bitmap is, and what a checkpoint changes of it.
//
//   volume (open) -> load() ; allocator -> load_bitmap() ; checkpoint -> stage(), commit()  ->  [group_table]  ->  block device
//
// Bitmaps and table blocks have two places each. stage() writes nothing and changes nothing that load_bitmap() sees: it says
// what is to be written to the places that are not current. commit() makes them current, once the superblock that says so is durable.
//
// Locks   lock_ for a few instructions only.    Parks  load() and load_bitmap(), on the device
// Format: fs/FORMAT.md "Group table", "Bitmaps". Tests: tests/fs/group_table_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/allocator.h"
#include "fs/format.h"
#include "fs/layout.h"
#include "kernel/block_device.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs {

class GroupTable final : public BitmapSource {
 public:
  // Reads and checks the current table. `superblock` has passed check_superblock().
  static Result<std::unique_ptr<GroupTable>> load(BlockDevice& device, const DiskSuperblock& superblock);

  // For fsck: what cannot be believed is told and left out, as groups without a free block whose bitmaps match nothing.
  struct Damage {
    std::uint64_t index = 0;  // of the table block
    BlockNo where;
    Error why;
  };
  static Result<std::unique_ptr<GroupTable>> load_damaged(BlockDevice& device, const DiskSuperblock& superblock,
                                                          std::vector<Damage>& damage);
  // Free blocks by all entries together.
  [[nodiscard]] std::uint64_t free_blocks() const;
  [[nodiscard]] bool is_initialised(std::uint32_t group) const;

  Status load_bitmap(std::uint32_t group, std::span<std::byte, kBlockBytes> bitmap) override;
  [[nodiscard]] std::vector<std::uint32_t> free_counts() const;

  // Reads table blocks and bitmaps of groups [first, first + count) anew, as `newest` has them; while no checkpoint runs. Blocks read.
  std::uint64_t verify(const DiskSuperblock& newest, std::uint64_t first, std::uint64_t count,
                       FunctionRef<void(BlockNo, const Error&)> bad);

  struct Write {
    BlockNo block;
    const std::byte* bytes;  // a block of them
  };
  // What a checkpoint has to write; commit() it or drop it.
  struct Staged {
    std::vector<Write> writes;
    std::vector<std::pair<std::uint32_t, DiskGroup>> groups;
    std::vector<std::uint32_t> table_indexes;
    AlignedBuffer tables;
  };
  // Turns the slots in `next.table_slots`. `frozen` must outlive the result's use.
  Staged stage(const FrozenSpace& frozen, DiskSuperblock& next) const;
  void commit(const Staged& staged);

 private:
  Status load_block(std::uint64_t index, std::span<const std::byte> both_slots);

  GroupTable(BlockDevice& device, const DiskSuperblock& superblock)
      : device_(device), superblock_(superblock), layout_(superblock) {}

  BlockDevice& device_;
  const DiskSuperblock superblock_;  // as loaded: for what never changes
  const Layout layout_;
  mutable std::mutex lock_;
  std::vector<DiskGroup> groups_;
};

// The table block `index` as it goes to disk.
void fill_group_table(DiskGroupTable& table, const DiskUuid& uuid, std::uint64_t checkpoint, std::uint64_t index,
                      std::span<const DiskGroup> groups) noexcept;
[[nodiscard]] inline std::uint32_t table_slot(const DiskSuperblock& superblock, std::uint64_t index) noexcept {
  return superblock.table_slots[index / 8] >> (index % 8) & 1u;
}

}  // namespace weft::fs
