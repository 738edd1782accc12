// fs/file_data.h - moves whole blocks of a file between memory and device, checksums and all.
//
//   file_read, file_write, file_truncate -> [file_data] -> file_map, block device
//
// Locks       the inode's content is held at least shared. read_blocks() needs no more: where a checksum does not fit and the
//             mapping has changed meanwhile (the blocks were rewritten elsewhere, freed and used again), it looks again
// Parks       read_blocks, write_runs
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fs/inode.h"
#include "fs/types.h"
#include "fs/volume.h"
#include "kernel/result.h"

namespace weft::fs {

// May the device read and write this memory itself?
[[nodiscard]] bool direct_io_fits(BlockDevice& device, const std::byte* memory) noexcept;

// File blocks from `first` on, as many as fill `into` (whole blocks, memory that direct_io_fits); holes and unwritten ones are zeros.
// kChecksum: what the device gave is not what was written.
Status read_blocks(Volume& volume, Inode& inode, FileBlock first, std::span<std::byte> into);

// `data`, one run of volume blocks after the other, all at once.
Status write_runs(BlockDevice& device, std::span<const BlockRange> runs, std::span<const std::byte> data);

// A crc32c for each block.
[[nodiscard]] std::vector<std::uint32_t> checksum_blocks(std::span<const std::byte> data);

}  // namespace weft::fs
