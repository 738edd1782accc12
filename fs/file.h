// fs/file.h - reads and writes the data of files.
//
//   ops_data -> [file: file_read, file_write, file_allocate] -> file_map, file_data, file_truncate -> transaction, device
//
// Whole-block writes go to fresh blocks and then, in one transaction with the inode, become the file's: they hold the inode's
// content shared and run side by side. Parts of blocks are read, changed and written as whole ones, exclusively. Blocks
// that were reserved (fallocate) are written where they lie, exclusively, and their checksums make the record that maps
// them void if the data did not arrive. Files with kInodeNoCow are overwritten in place; what was a hole or reserved is written
// and flushed before it is mapped, so that nobody ever reads what was there before.
//
// A write whose caller can be answered early (`accepted`: the kernel writing back pages that were write(2)n long ago) commits first,
// then the data goes to the device while the caller goes on; whoever needs it there waits for it (data_in_flight.h). Should it not
// get there the volume fails, as the mapping is in force already.
//
// Locks       Inode::content is taken here (shared or exclusive), then Inode::change at commit
// Parks       everything here
// Tests       tests/fs/file_test.cc, tests/fs/power_test.cc
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/file_system.h"
#include "fs/file_system_core.h"

namespace weft::fs {

inline constexpr std::size_t kWriteStepBytes = 1 << 20;  // at most so much in one transaction

Result<std::size_t> read_file(FileSystemCore& fs, Inode& inode, std::uint64_t offset, std::span<std::byte> into);
// Fewer bytes than asked only where space or the device gave out after some were written.
Result<std::size_t> write_file(FileSystemCore& fs, Inode& inode, std::uint64_t offset, std::span<const std::byte> from,
                               bool kill_set_id, bool append, const WriteAccepted& accepted);
Status allocate_file(FileSystemCore& fs, Inode& inode, AllocateMode mode, std::uint64_t offset,
                     std::uint64_t length_bytes);
Result<std::uint64_t> seek_file(FileSystemCore& fs, Inode& inode, std::uint64_t offset, bool for_data);

}  // namespace weft::fs
