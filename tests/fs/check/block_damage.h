// tests/fs/check/block_damage.h - damage to what has a fixed place: superblocks, group table, bitmaps, log; to any block, and to any node.
//
// edit_*() change what a struct says and make its checksums fit, as if it had been written so.
#pragma once

#include <functional>
#include <vector>

#include "fs/allocator_group.h"
#include "fs/format.h"
#include "fs/types.h"
#include "kernel/block_device.h"

namespace weft::fs::test {

std::vector<std::byte> read_block(BlockDevice& disk, BlockNo block);
void write_block(BlockDevice& disk, BlockNo block, std::span<const std::byte> bytes);
// Nothing of what was there is left.
void garble(BlockDevice& disk, BlockNo block);

// Where the newest superblock says that they are; of group 0.
BlockNo current_table(BlockDevice& disk);
BlockNo current_bitmap(BlockDevice& disk);
void edit_superblock(BlockDevice& disk, const std::function<void(DiskSuperblock&)>& change);
void edit_group(BlockDevice& disk, const std::function<void(DiskGroup&, GroupBitmap&)>& change);

// Of the bitmap of group 0.
std::vector<BlockRange> free_runs(BlockDevice& disk);

// Nodes of a sound volume's tree, [0]: leaves.
std::vector<std::vector<BlockNo>> nodes_of(BlockDevice& disk);

// A block of a file's first extent.
void garble_data(BlockDevice& disk, InodeNo inode, std::uint64_t block_of_file);

// Of the records that a crash left in the log.
void lose_second_record(BlockDevice& disk);
// The name that the last erasure in the log takes away becomes one that there is not.
void unfit_last_erasure(BlockDevice& disk);

}  // namespace weft::fs::test
