// tests/support/sample_tree.h - a small tree with one of everything that a file system can hold, the same every time.
//
//   golden images, tests of tools  ->  [sample_tree]  ->  fs::FileSystem
//
// Every type of file, names at their limits, hard links, sparse, reserved and no-CoW data, attributes small and large, ACLs, flags.
#pragma once

#include <string>

#include "fs/file_system.h"
#include "kernel/block_device.h"
#include "kernel/clock.h"
#include "kernel/result.h"

namespace weft::fs::test {

// A volume whose bytes depend on `label` and the sizes of device and log (0: by the device's) alone, if `clock` begins anew.
Status make_sample_volume(BlockDevice& device, const std::string& label, Clock& clock, std::uint64_t log_bytes = 0);
Result<std::unique_ptr<FileSystem>> mount_sample(BlockDevice& device, Clock& clock, bool read_only = false);
Status make_sample_tree(FileSystem& file_system);

// A file named /unlinked with 64 KiB, removed while it is held open: the reference is not given back, so that dropping the file
// system now leaves an orphan.
Status make_sample_orphan(FileSystem& file_system);

}  // namespace weft::fs::test
