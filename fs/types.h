// fs/types.h - the kinds of numbers a volume is made of.
#pragma once

#include <cstdint>

#include "kernel/strong_id.h"

namespace weft::fs {

inline constexpr std::uint32_t kBlockBytes = 4096;
inline constexpr std::uint32_t kBlockShift = 12;

using BlockNo =
    StrongId<struct BlockNoTag>;  // a 4 KiB block of the volume; 0 is a superblock slot, so it also says "none"
using InodeNo = StrongId<struct InodeNoTag>;  // never used twice in the life of a volume
using Lsn = StrongId<struct LsnTag>;          // place of a transaction in the one total order; 0: before the first
using CheckpointNo = StrongId<struct CheckpointNoTag>;  // which checkpoint; also the birth of nodes and extents
using FileBlock = StrongId<struct FileBlockTag>;        // a 4 KiB block of a file, counted from its start

// `count` blocks of the volume from `start`. Empty when count is 0.
struct BlockRange {
  BlockNo start;
  std::uint64_t count = 0;
  [[nodiscard]] BlockNo end() const noexcept { return start + count; }
  bool operator==(const BlockRange&) const noexcept = default;
};

}  // namespace weft::fs
