// fs/check/claims.h - decides whose a block is that several say they have.
//
//   checked_volume, when the walk has met blocks twice -> [claims] -> findings with fixes
//
// A node of the tree has proved by its checksum that the block is its own. Of files the one whose checksum fits what the block holds
// has it; where nobody can prove anything, the first in the order of the tree. The others get a hole there: what they had is
// not on the disk any more. Parks on the device. Tests: tests/fs/check/space_check_test.cc.
#pragma once

#include <vector>

#include "fs/btree.h"
#include "fs/check/finding.h"
#include "fs/types.h"
#include "kernel/block_device.h"

namespace weft::fs::check {

// Walks the tree once more. `twice`: blocks met more than once, in any order.
Status check_claims(BTree& tree, BlockDevice& device, std::vector<BlockRange> twice, Findings& findings);

}  // namespace weft::fs::check
