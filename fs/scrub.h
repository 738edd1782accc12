// fs/scrub.h - reads a mounted volume from its device, a little at a time, and compares all of it with its checksums.
//
//   fs/fuse/ioctl, tests -> [scrub] -> volume: verify_groups, verify_leaf, scan -> device
//
// Nothing is held between two steps, so the file system goes on serving and whoever asks sets the pace. What is wrong is looked at
// again before it is said: a block that is no longer what it was is no damage. Steps in the order of positions cover everything that was
// there throughout; what was written meanwhile may be left out. Read past all caches: superblocks, group tables, bitmaps, tree nodes,
// data with checksums. Files without them (kInodeNoCow) are counted, and the log is left to the next mount.
//
// Thread- and fiber-safe. Parks. Memory: `max_blocks` blocks. Tests: tests/fs/scrub_test.cc
#pragma once

#include <cstdint>
#include <vector>

#include "fs/types.h"
#include "fs/volume.h"
#include "kernel/result.h"

namespace weft::fs {

// Where to go on. All zero: the start. Otherwise only what a step gave; anything else is safe, and skips or repeats.
struct ScrubPosition {
  std::uint64_t phase = 0;   // 0: groups, 1: tree
  std::uint64_t object = 0;  // group, or a key's halves
  std::uint64_t tag = 0;
  auto operator<=>(const ScrubPosition&) const noexcept = default;
};

enum class ScrubProblem : std::uint32_t {
  kNode = 1,   // a tree node, whatever keys it holds
  kFixed = 2,  // superblock, group table or bitmap
  kData = 3,   // not what was written
  kRead = 4,   // of data: the device failed
};

// A run of bad blocks.
struct ScrubFinding {
  ScrubProblem problem{};
  InodeNo inode;         // of data
  FileBlock file_block;  // likewise
  BlockNo block;
  std::uint64_t count = 1;
};

struct ScrubStep {
  ScrubPosition next;
  bool done = false;
  std::uint64_t metadata_blocks = 0;
  std::uint64_t data_blocks = 0;
  std::uint64_t unchecked_blocks = 0;  // written, and without checksums
  std::uint64_t files = 0;             // regular ones whose record was passed
  std::uint64_t errors = 0;            // blocks
  std::vector<ScrubFinding> findings;
};

inline constexpr std::uint64_t kMaxScrubBlocks = 4096;

// From `from` on, about `max_blocks` blocks, at least one leaf's or one extent's. Each finding is also reported to the volume.
Result<ScrubStep> scrub_step(Volume& volume, const ScrubPosition& from, std::uint64_t max_blocks);

}  // namespace weft::fs
