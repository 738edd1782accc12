// fs/file_map.h - reads which blocks of the volume hold a file.
//
//   file_read, file_write, file_truncate, file_allocate -> [file_map] -> volume
//
// Locks       find_pieces() takes Inode::change where one extent does not cover the range, so that what it finds is the mapping of one
//             moment; find_pieces_locked() is for those who hold it
// Parks       everything here
// Tests       tests/fs/file_test.cc
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "fs/inode.h"
#include "fs/types.h"
#include "fs/volume.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs {

// File blocks [first, first + blocks.count) lie in `blocks`.
struct MappedPiece {
  FileBlock first;
  BlockRange blocks;
  std::uint32_t flags = 0;               // ExtentFlag bits
  std::vector<std::uint32_t> checksums;  // one a block, or none where the flags say so

  [[nodiscard]] FileBlock end() const noexcept { return first + blocks.count; }
  [[nodiscard]] bool unwritten() const noexcept { return (flags & kExtentUnwritten) != 0; }
  bool operator==(const MappedPiece&) const noexcept = default;
};

// `count` blocks of a file from `first`.
struct FileRange {
  FileBlock first;
  std::uint64_t count = 0;
  [[nodiscard]] FileBlock end() const noexcept { return first + count; }
};

// What of [first, first + count) is mapped, cut to that range, ascending; what lies between is holes.
Result<std::vector<MappedPiece>> find_pieces(Volume& volume, Inode& inode, FileBlock first, std::uint64_t count);
Result<std::vector<MappedPiece>> find_pieces_locked(Volume& volume, InodeNo inode, FileBlock first,
                                                    std::uint64_t count);

// The same without gathering anything, until `visit` returns false: for ranges of any number of extents. What is mapped is seen as it
// is when it is passed.
Status visit_extents(Volume& volume, InodeNo inode, FileRange range,
                     FunctionRef<bool(FileRange part, std::uint32_t flags)> visit);

// How many of these blocks are mapped.
[[nodiscard]] std::uint64_t mapped_blocks(const std::vector<MappedPiece>& pieces) noexcept;

inline constexpr std::uint64_t kFileBlockEnd =
    kMaxFileBytes / kBlockBytes;  // one past the last block of the longest file

// The keys of a file's extents from the one that starts at `first` on, up to and without the one at `end`.
[[nodiscard]] inline Key extent_key(InodeNo inode, FileBlock first) noexcept {
  return {inode, KeyKind::kExtent, first.value()};
}

}  // namespace weft::fs
