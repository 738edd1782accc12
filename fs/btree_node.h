// fs/btree_node.h - looking into and editing the page of one tree node, in exactly the form it has on disk.
//
//   btree, btree_change -> [node]
//
// The page has passed check_node(): nothing here checks bounds again. Edits keep the slots in order of keys and let values
// lie in the heap in any order; a leaf is compacted when its free bytes suffice but do not lie together.
// Not thread-safe: who edits has the tree's lock exclusively and a page of its own.
// Tests  tests/fs/btree_node_test.cc
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "fs/format.h"
#include "fs/key.h"
#include "fs/page.h"

namespace weft::fs {

inline Key to_key(const DiskKey& key) noexcept { return Key::from_raw(key.object, key.tag); }
inline DiskKey to_disk(Key key) noexcept {
  DiskKey disk;
  disk.object = key.object;
  disk.tag = key.tag;
  return disk;
}
// The greatest key below `key`, which is not the lowest.
inline Key before(Key key) noexcept {
  return key.tag != 0 ? Key::from_raw(key.object, key.tag - 1) : Key::from_raw(key.object - 1, ~std::uint64_t{0});
}

inline constexpr std::uint32_t kLeafSpace = kBlockBytes - sizeof(DiskNode);  // for slots and values

// A borrowed page with a node in it.
class NodePage {
 public:
  explicit NodePage(std::byte* page) noexcept : page_(page) {}

  [[nodiscard]] DiskNode& header() const noexcept { return *reinterpret_cast<DiskNode*>(page_); }
  [[nodiscard]] bool is_leaf() const noexcept { return header().level == 0; }
  [[nodiscard]] std::uint32_t count() const noexcept { return header().count; }
  [[nodiscard]] Key low() const noexcept { return to_key(header().low); }
  [[nodiscard]] Key high() const noexcept { return to_key(header().high); }

  // -- Leaf
  [[nodiscard]] DiskLeafSlot* slots() const noexcept {
    return reinterpret_cast<DiskLeafSlot*>(page_ + sizeof(DiskNode));
  }
  [[nodiscard]] Key leaf_key(std::uint32_t index) const noexcept { return to_key(slots()[index].key); }
  [[nodiscard]] std::span<const std::byte> value(std::uint32_t index) const noexcept {
    return {page_ + slots()[index].offset, slots()[index].length};
  }
  // First slot whose key is not below `key`; count() if there is none.
  [[nodiscard]] std::uint32_t lower_bound(Key key) const noexcept;
  [[nodiscard]] std::uint32_t used_bytes() const noexcept;  // slots and values; kLeafSpace at most
  // Whether `bytes` more (a value, and a slot of 20 if it is new) can be had, by compaction if need be.
  [[nodiscard]] bool has_room(std::uint32_t bytes) const noexcept;
  void insert(std::uint32_t index, Key key, std::span<const std::byte> value) noexcept;  // has_room(20 + size)
  void erase(std::uint32_t index) noexcept;
  void replace(std::uint32_t index, std::span<const std::byte> value) noexcept;  // has_room(size - old size) if larger
  // Appends slots [from, to) of another leaf, all above what is here; there is room.
  void append(const NodePage& other, std::uint32_t from, std::uint32_t to) noexcept;
  void truncate(std::uint32_t count) noexcept;  // drops slots from `count` on

  // -- Inner node
  [[nodiscard]] DiskInnerEntry* entries() const noexcept {
    return reinterpret_cast<DiskInnerEntry*>(page_ + sizeof(DiskNode));
  }
  [[nodiscard]] Key entry_key(std::uint32_t index) const noexcept { return to_key(entries()[index].key); }
  // Where entry `index` ends.
  [[nodiscard]] Key entry_high(std::uint32_t index) const noexcept {
    return index + 1 < count() ? entry_key(index + 1) : high();
  }
  [[nodiscard]] std::uint32_t child_of(
      Key key) const noexcept;  // the entry that covers `key`, which is not below low()
  void insert_entry(std::uint32_t index, Key key, BlockNo child, CheckpointNo birth) noexcept;
  void erase_entry(std::uint32_t index) noexcept;
  void append_entries(const NodePage& other, std::uint32_t from, std::uint32_t to) noexcept;

  // An empty node with this header.
  void format(const DiskUuid& uuid, std::uint8_t level, Key low, Key high) noexcept;

 private:
  [[nodiscard]] std::uint32_t gap() const noexcept;
  void compact() noexcept;

  std::byte* page_;
};

// A copy to change. Leaves out the crc: the checkpoint that owns the original may be writing it just then.
PageRef clone_node(const PageRef& page);

}  // namespace weft::fs
