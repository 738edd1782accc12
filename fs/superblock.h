// fs/superblock.h - finds the newest superblock that is whole, and writes the next one.
//
//   volume, checkpoint, make_volume, fsck  ->  [superblock]  ->  block device
//
// Four slots, two at either end of the volume; checkpoint c goes to slot c % 4 and, once it is durable there, to (c + 2) % 4,
// which is at the other end. A slot that is torn or unreadable is passed
// over; one whose checksum is right and whose fields cannot be true is damage, and reported. Parks on the device.
// Format: fs/FORMAT.md "Superblock". Tests: tests/fs/superblock_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "fs/format.h"
#include "fs/layout.h"
#include "kernel/block_device.h"
#include "kernel/clock.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs {

struct FoundSuperblock {
  DiskSuperblock superblock;
  // Some slot holds nothing whole: either a write to it was torn, or it rotted, and may have been newer. The log is searched
  // for signs of that.
  bool slot_unreadable = false;
};

// kWrongFormat: no slot looks like one of ours; kCorrupt: see check_superblock(); kIo when nothing could be read.
Result<FoundSuperblock> find_superblock(BlockDevice& device);

// Seals (checksum) and writes `superblock` to its slot; not flushed.
Status write_superblock(BlockDevice& device, const DiskSuperblock& superblock);
Status write_superblock_copy(BlockDevice& device, const DiskSuperblock& superblock);
Status write_superblock_to(BlockDevice& device, const DiskSuperblock& superblock, std::uint32_t slot);

// Before the first checkpoint of a mount. A torn write of the checkpoint that an earlier mount was at has left sectors of a superblock
// with the number that `next` will have, in the slot it goes to; were the write of `next` torn as well, those and its own might make that
// superblock whole, after its tables have been written over. So what is not whole in that slot is wiped, and flushed.
Status wipe_torn_slot(BlockDevice& device, const DiskSuperblock& next, FunctionRef<Status()> flush);
// Where write_superblock() and write_superblock_copy() put the newest, and whether it is there. Parks.
[[nodiscard]] BlockNo newest_superblock(const DiskSuperblock& superblock) noexcept;
[[nodiscard]] BlockNo newest_superblock_copy(const DiskSuperblock& superblock) noexcept;
Status verify_superblock(BlockDevice& device, const DiskSuperblock& superblock, BlockNo where);

DiskTime disk_time(const Timespec& time) noexcept;

}  // namespace weft::fs
