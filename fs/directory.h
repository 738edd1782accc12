// fs/directory.h - the names of a directory as keys: finding, adding, taking away, listing.
//
//   ops_names, ops_rename, ops_list -> [directory] -> transaction, volume
//
// A name lies under (directory, kDirent, hash << 8 | n); n is the first free of 0..255 when it was added, so a name
// never moves while it exists: its key is a cookie that stays good. What to do with inodes is the callers' business.
//
// Locks       the directory's Inode::content is held by the caller, exclusively by those that change
// Parks       all but place() and drop()
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fs/name_hash.h"
#include "fs/types.h"
#include "fs/volume.h"
#include "kernel/result.h"

namespace weft::fs {

struct Dirent {
  InodeNo inode;
  std::uint8_t type = 0;     // DT_*
  std::uint64_t offset = 0;  // of its key
};

// What a look for a name found: the entry, or where one could go.
struct NameSlot {
  std::optional<Dirent> entry;
  std::uint64_t free_offset = 0;  // where there is no entry
};

struct NamedDirent {
  Dirent dirent;
  std::string name;
};

// 1..255 bytes, no '/' or zero; "." and ".." are kExists-like reserved: kInvalid. Does not park.
Status check_name(std::string_view name);

// kNoSpace: 256 names of one hash, none of them this one.
Result<NameSlot> find_name(Volume& volume, const NameHash& hash, InodeNo directory, std::string_view name);

void place_name(Transaction& transaction, InodeNo directory, std::uint64_t offset, std::string_view name, InodeNo inode,
                std::uint8_t type);
void drop_name(Transaction& transaction, InodeNo directory, std::uint64_t offset);

// Up to `limit` names from key offset `from` on.
Result<std::vector<NamedDirent>> list_names(Volume& volume, InodeNo directory, std::uint64_t from, std::size_t limit);

// DT_* of a mode.
std::uint8_t dirent_type(std::uint32_t mode) noexcept;

}  // namespace weft::fs
