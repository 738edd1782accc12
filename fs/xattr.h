// fs/xattr.h - extended attributes as keys: short values beside their name, long ones in chunks.
//
//   ops_attributes, ops_names -> [xattr] -> transaction, volume
//
// A name lies under (inode, kXattr, hash << 8 | n), n the first free of 0..255 when it was added. Counting them in the
// inode and locking are the callers' business.
//
// Locks       the inode's content is the caller's: shared for reading, exclusive for changes
// Parks       find_xattr, read_xattr, list_xattr_names
// Tests       tests/fs/xattr_test.cc
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fs/name_hash.h"
#include "fs/types.h"
#include "fs/volume.h"
#include "kernel/result.h"

namespace weft::fs {

struct XattrEntry {
  std::uint64_t offset = 0;  // of its key
  std::uint32_t value_bytes = 0;
  std::optional<std::vector<std::byte>> inline_value;
};

struct XattrSlot {
  std::optional<XattrEntry> entry;
  std::uint64_t free_offset = 0;  // where there is no entry
};

Result<XattrSlot> find_xattr(Volume& volume, const NameHash& hash, InodeNo inode, std::string_view name);
Result<std::vector<std::byte>> read_xattr(Volume& volume, InodeNo inode, const XattrEntry& entry);
Result<std::vector<std::string>> list_xattr_names(Volume& volume, InodeNo inode);

// Adds to `needs` what put_xattr() and drop_xattr() will use. `old`: what is replaced or dropped.
void need_for_xattr(TransactionNeeds& needs, const std::optional<XattrEntry>& old, std::string_view name,
                    std::size_t value_bytes);
void put_xattr(Transaction& transaction, InodeNo inode, const XattrSlot& slot, std::string_view name,
               std::span<const std::byte> value);
void drop_xattr(Transaction& transaction, InodeNo inode, const XattrEntry& entry);

}  // namespace weft::fs
