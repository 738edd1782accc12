// fs/key.h - the one key space that all metadata lives in.
//
// A key is (object, kind, offset): first whose it is, then what it is, then where in it. Keys of one object lie
// together, its inode first, so reading an inode brings its first extents or names along.
//
//   object  kind          offset                         value (fs/format.h)
//   ino     kInode        0                              DiskInode
//   ino     kSymlink      chunk number                   kSymlinkChunkBytes of the target each, the last one less
//   ino     kXattr        hash of the name << 8 | n      DiskXattr, name, value where it fits
//   ino     kXattrData    (hash << 8 | n) << 8 | chunk   kXattrChunkBytes each of a value that does not fit (40-bit hash)
//   dir     kDirent       hash of the name << 8 | n      DiskDirent, name
//   ino     kExtent       first file block               DiskExtent, a crc32c for each block
//   0       kOrphan       ino                            empty: unlinked, yet to be freed
//
// n tells names of the same hash apart. An offset has 56 bits. Order is that of (object, kind, offset) as unsigned numbers.
#pragma once

#include <compare>
#include <cstdint>

#include "fs/types.h"

namespace weft::fs {

enum class KeyKind : std::uint8_t {
  kInode = 1,
  kSymlink = 2,
  kXattr = 3,
  kXattrData = 4,
  kDirent = 5,
  kExtent = 6,
  kOrphan = 7,
};

inline constexpr std::uint64_t kMaxKeyOffset = (std::uint64_t{1} << 56) - 1;
// Far from kMaxKeyOffset, so that an orphan's key can name every inode that there will ever be.
inline constexpr std::uint64_t kMaxInodeNo = std::uint64_t{1} << 55;
inline constexpr InodeNo kSystemObject{0};
inline constexpr InodeNo kRootInode{1};
inline constexpr InodeNo kFirstFreeInode{16};  // 2..15 are kept for objects of later versions

struct Key {
  std::uint64_t object = 0;
  std::uint64_t tag = 0;  // kind << 56 | offset

  constexpr Key() noexcept = default;
  constexpr Key(InodeNo owner, KeyKind kind, std::uint64_t offset) noexcept
      : object(owner.value()), tag(static_cast<std::uint64_t>(kind) << 56 | (offset & kMaxKeyOffset)) {}
  static constexpr Key from_raw(std::uint64_t object, std::uint64_t tag) noexcept {
    Key key;
    key.object = object;
    key.tag = tag;
    return key;
  }
  static constexpr Key lowest() noexcept { return {}; }
  static constexpr Key highest() noexcept { return from_raw(~std::uint64_t{0}, ~std::uint64_t{0}); }

  [[nodiscard]] constexpr InodeNo owner() const noexcept { return InodeNo(object); }
  [[nodiscard]] constexpr KeyKind kind() const noexcept { return static_cast<KeyKind>(tag >> 56); }
  [[nodiscard]] constexpr std::uint64_t offset() const noexcept { return tag & kMaxKeyOffset; }
  constexpr auto operator<=>(const Key&) const noexcept = default;
};

}  // namespace weft::fs
