// fs/check/superblock_check.h - the four copies of the superblock, each by itself and against the newest.
//
//   checked_volume -> [superblock_check] -> findings
//
// A copy that a power cut has torn is no damage: the next checkpoints write over it. One is taken for torn when all that never
// changes in a superblock is in its place; anything else that is no superblock has rotted or was written over.
// Parks on the device. Tests: tests/fs/check/space_check_test.cc.
#pragma once

#include <string>
#include <vector>

#include "fs/check/finding.h"
#include "fs/format.h"
#include "kernel/block_device.h"

namespace weft::fs::check {

// `newest` is what find_superblock() has chosen. Torn copies go to `notes`.
Status check_superblocks(BlockDevice& device, const DiskSuperblock& newest, Findings& findings,
                         std::vector<std::string>& notes);

}  // namespace weft::fs::check
