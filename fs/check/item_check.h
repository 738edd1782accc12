// fs/check/item_check.h - looks at every key of the tree, one after the other, and at each inode as a whole when its last has passed.
//
//   tree walk -> [item_check] -> findings ; what has to be looked at across inodes goes to name_check
//
// One pass in order of keys. Kept for later are 32 bytes an inode and 24 a name; of an inode's own keys only what the next ones are
// compared with. Not thread-safe, never parks. Tests: tests/fs/check/repair_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/check/finding.h"
#include "fs/format.h"
#include "fs/key.h"
#include "fs/name_hash.h"

namespace weft::fs::check {

// What name_check needs of an inode. Ascending by number.
struct InodeState {
  std::uint64_t number = 0;
  std::uint64_t parent = 0;  // as a directory's record says
  std::uint32_t links = 0;
  std::uint32_t directories = 0;  // named in this one; filled in by name_check
  std::uint8_t type = 0;          // DT_*
  bool made_up = false;           // has no record yet: repair makes one
  bool has_names = false;         // a directory that is not empty
};

struct NameRef {
  std::uint64_t target = 0;
  std::uint64_t directory = 0;
  std::uint64_t place = 0;  // type << 56 | offset of its key
  [[nodiscard]] std::uint8_t type() const noexcept { return static_cast<std::uint8_t>(place >> 56); }
  [[nodiscard]] Key key() const noexcept { return {InodeNo(directory), KeyKind::kDirent, place}; }
};

struct TreeFacts {
  std::vector<InodeState> inodes;
  std::vector<NameRef> names;
  std::vector<std::uint64_t> orphans;  // that have a kOrphan key, ascending
  std::uint64_t records = 0;           // kInode keys
  std::uint64_t highest_inode = 0;
  std::uint64_t directories = 0;
  std::uint64_t data_blocks = 0;
  std::uint64_t extents = 0;
};

class ItemCheck {
 public:
  ItemCheck(std::span<const std::uint8_t, 16> hash_seed, Findings& findings, TreeFacts& facts);
  void item(Key key, std::span<const std::byte> value);
  void finish();

 private:
  struct Xattr {
    std::uint64_t offset;
    std::uint32_t value_bytes;  // under kXattrData
    std::uint32_t found_bytes = 0;
    std::uint64_t next_chunk = 0;
  };
  // The inode whose keys are passing.
  struct Object {
    std::uint64_t number = 0;
    std::uint64_t items = 0;
    std::optional<DiskInode> record;
    bool record_key = false;  // there is a kInode key, sound or not
    bool bad_mode = false;
    bool orphan = false;
    std::uint64_t entries = 0;
    std::uint64_t xattrs = 0;
    std::vector<Xattr> long_xattrs;
    std::uint64_t symlink_chunks = 0;
    std::uint64_t symlink_bytes = 0;
    bool symlink_broken = false;
    std::vector<Key> symlink_keys;
    std::uint64_t mapped_end = 0;  // file block behind the last extent
    std::uint64_t blocks = 0;
    std::uint64_t same_hash = ~std::uint64_t{0};
    std::vector<std::string> same_hash_names;
  };

  void system_item(Key key, std::span<const std::byte> value);
  void inode_item(Key key, std::span<const std::byte> value);
  void symlink_item(Key key, std::span<const std::byte> value);
  void xattr_item(Key key, std::span<const std::byte> value);
  void xattr_data_item(Key key, std::span<const std::byte> value);
  void dirent_item(Key key, std::span<const std::byte> value);
  void extent_item(Key key, std::span<const std::byte> value);
  void check_record();
  void end_object();
  void end_symlink();
  void end_xattrs();
  void make_up_record(std::uint32_t type);
  [[nodiscard]] std::uint32_t likely_type() const;
  void stray(Key key, std::string what);
  void field(InodeField which, std::uint64_t number, std::string message);
  // The type of the inode at hand is one of `types`, or not known.
  [[nodiscard]] bool may_be(std::uint32_t type) const;
  [[nodiscard]] bool is_going() const;

  const NameHash hash_;
  Findings& findings_;
  TreeFacts& facts_;
  Object object_;
};

}  // namespace weft::fs::check
