// fs/check/salvage.h - finds leaves of a tree of which the way to them is lost.
//
//   checked_volume (rebuild) -> [salvage] -> block device
//
// Every block that nobody claims may be a leaf that was below a lost node, or an older state of one: nodes say of themselves whose
// they are, where they lie, which keys they hold and of which checkpoint they are. For each key the newest leaf that covers it
// speaks: what it does not have was erased. Where the newest is itself lost that is an older state, which further rounds of the check
// fit to the rest. Parks on the device. Tests: tests/fs/check/salvage_test.cc.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fs/btree.h"
#include "fs/check/space_map.h"
#include "fs/format.h"
#include "fs/layout.h"
#include "kernel/block_device.h"

namespace weft::fs::check {

// Keys [from, to) are those of the leaf in `block`.
struct SalvagedRange {
  BlockNo block;
  CheckpointNo birth;
  Key low, high;  // of the leaf
  Key from, to;
};

// Whether the page is a whole leaf of this volume that says that it lies in `block`.
bool is_leaf_of(std::span<const std::byte, kBlockBytes> page, BlockNo block, const DiskUuid& uuid,
                const Layout& layout);

// In order of keys. Reads all of the data area that `claimed` leaves over. `newest`: no leaf of a later checkpoint counts. `progress` is called with
// blocks looked at and may end it (kCancelled).
Result<std::vector<SalvagedRange>> find_leaves(BlockDevice& device, const DiskUuid& uuid, const Layout& layout,
                                               const SpaceMap& claimed, CheckpointNo newest,
                                               std::span<const BTree::LostNode> lost,
                                               FunctionRef<bool(std::uint64_t)> progress);

}  // namespace weft::fs::check
