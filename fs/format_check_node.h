// fs/format_check_node.h - whether a block is the tree node that its parent says it is.
//
// Past check_node() a page may be walked and edited without looking at bounds again: slots, values and entries lie within the
// page and do not overlap, keys ascend within the node's bounds, extents are well-formed. Pure; any thread.
// Tests  tests/fs/format_check_node_test.cc
#pragma once

#include <cstddef>
#include <span>

#include "fs/format.h"
#include "fs/key.h"
#include "fs/types.h"
#include "kernel/result.h"

namespace weft::fs {

struct NodeExpectation {
  BlockNo block;  // these five from the parent's entry ...
  CheckpointNo birth;
  std::uint8_t level = 0;
  Key low;
  Key high = Key::highest();
  DiskUuid uuid{};      // ... and these from the superblock
  BlockNo first_block;  // data area: children and extents lie in it
  BlockNo end_block;
};

// kCorrupt, with the block and what is wrong. `with_crc` false: of a page in memory, whose crc is not kept.
Status check_node(std::span<const std::byte, kBlockBytes> page, const NodeExpectation& expected, bool with_crc = true);
// Whether `value` is a well-formed DiskExtent with its checksums, for blocks of the file from `first` on.
// `why` is a literal, for messages.
bool check_extent(std::span<const std::byte> value, std::uint64_t first, BlockNo first_block, BlockNo end_block,
                  const char*& why) noexcept;

}  // namespace weft::fs
