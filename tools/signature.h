// tools/signature.h - what a file or device already holds, so that nothing is overwritten by mistake.
//
//   mkfs.weft  ->  [signature]  ->  libblkid; fs/superblock for Weft's own
//
// Blocks the thread on I/O. Tests: tests/tools/mkfs_test.cc.
#pragma once

#include <optional>
#include <string>

#include "kernel/block_device.h"
#include "kernel/result.h"

namespace weft::tools {

// "an ext4 file system", "a dos partition table", "data of no known kind" (a file, not a disk, that does not begin with
// zeros); nothing where there is nothing to lose. `path` is what `device` has open.
Result<std::optional<std::string>> find_content(BlockDevice& device, const std::string& path, bool is_block_device);

}  // namespace weft::tools
