// fs/btree.h - the copy-on-write B+tree that holds all metadata.
//
//   volume -> [btree: walk; btree_change: insert, erase, split, merge; extent_map: kMap, kUnmap] -> node_cache -> device
//                                                                                                -> allocator
// A node born under the current checkpoint is dirty and changed in place; an older one is immutable on disk, so a change
// gives it a new block, frees the old one and changes its parent, up to the root (Rodeh, "B-trees, shadowing, and clones",
// 2008). freeze() ends the current checkpoint's nodes: they are written as they are then, changes go to newer copies.
//
// Invariants  T1  every key of a subtree lies within [low, high) of its node; siblings' bounds meet
//             T2  a dirty node's parent is dirty
//             T3  a page that a FrozenTree holds does not change
// Locks       lock_ (readers share it) -> the allocator's. Device reads happen without it: a walk that meets a node that is not
//             in memory lets go, reads it, and starts over.
// Parks       everything but the numbers. Thread- and fiber-safe.
// Tests       tests/fs/btree_test.cc, tests/fs/extent_map_test.cc
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "fs/allocator.h"
#include "fs/format.h"
#include "fs/key.h"
#include "fs/page.h"
#include "fs/types.h"
#include "kernel/block_device.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft {
class Metrics;
}

namespace weft::fs {

struct TreeRoot {
  BlockNo block;
  CheckpointNo birth;
  std::uint8_t level = 0;
};

struct BTreeConfig {
  DiskUuid uuid{};
  TreeRoot root;
  CheckpointNo checkpoint;  // the one in the making: last durable + 1. Nodes and extents are born under it.
  std::size_t cache_bytes = 64 << 20;
  Metrics* metrics = nullptr;  // null: default_metrics()
};

// What a transaction changed besides keys.
struct ApplyEffects {
  std::int64_t inodes = 0;          // kInode keys that came less those that went
  std::uint64_t highest_inode = 0;  // object of any kInode key put; 0: none
  // Blocks were not as the transaction or the tree claimed (mapped: not free; freed: not used). All changes were made.
  std::optional<std::string> damage;
};

struct FrozenNode {
  BlockNo block;
  PageRef page;  // as it goes to disk, but for DiskNode::crc: see seal()
};
struct FrozenTree {
  CheckpointNo checkpoint;  // that these belong to
  TreeRoot root;
  std::vector<FrozenNode> nodes;  // ascending by block
};

// A leaf, and the nodes above it of which it is the first, read anew from the device whatever the cache has.
struct VerifiedLeaf {
  Key low;  // of the leaf; of the node that keeps from it, if that is not to be had
  Key high;
  std::uint32_t nodes = 0;  // read; what is not on the device yet is not
  bool readable = true;     // so that its items can be had
  struct Bad {
    BlockNo block;
    Error why;
  };
  std::vector<Bad> bad;
};

class BTree {
 public:
  BTree(BlockDevice& device, Allocator& allocator, const BTreeConfig& config);
  ~BTree();
  BTree(const BTree&) = delete;
  BTree& operator=(const BTree&) = delete;

  // As Volume's of the same names. Visitors run under the shared lock: they must not park nor call the tree.
  Result<bool> get(Key key, FunctionRef<void(std::span<const std::byte>)> visit);
  Status scan(Key from, Key to, FunctionRef<bool(Key, std::span<const std::byte>)> visit);
  Result<bool> last(Key from, Key to, FunctionRef<void(Key, std::span<const std::byte>)> visit);

  // Makes the changes of one transaction (DiskTransaction, DiskChange ...), from a commit or from the log. Reads all it needs
  // first; then, under the exclusive lock, changes all, allocates at most node_bound() blocks by Allocator::allocate_node() and
  // calls `in_order`, so that what it does (Lsn, append to the journal) happens in the order of the changes. An error of reading
  // or parsing changes nothing. kCorrupt from erasing a key that does not exist leaves what came before it done: the caller
  // turns read-only or gives the volume up.
  Status apply(std::span<const std::byte> transaction, ApplyEffects& effects, FunctionRef<void()> in_order);
  // kCorrupt unless `transaction` is well-formed. Calls `mapped` with the blocks of each kMap: for Allocator::hold_for_replay()
  // and for verifying fresh data (checksums is empty where there are none).
  struct MappedExtent {
    BlockRange blocks;
    std::uint32_t flags = 0;
    bool fresh = false;
    std::span<const le32> checksums;
  };
  static Status parse(std::span<const std::byte> transaction, FunctionRef<Status(const MappedExtent&)> mapped);

  // Under the exclusive lock: calls `also` (Allocator::freeze(), Lsn, log position ...); if that succeeds takes all dirty nodes,
  // and the next checkpoint begins.
  Result<FrozenTree> freeze(FunctionRef<Status()> also);
  // The checkpoint is durable: its nodes may be evicted. Until then they stay in memory.
  void written(const FrozenTree& frozen);
  // Sets the crc, last thing before the page is written. Only the checkpoint that holds the FrozenTree may call it.
  static void seal(const FrozenNode& node) noexcept;

  // At most so many blocks are allocated by a transaction of `changes` changes as the tree stands.
  [[nodiscard]] std::uint64_t node_bound(std::uint64_t changes) const;
  [[nodiscard]] TreeRoot root() const;
  [[nodiscard]] CheckpointNo checkpoint() const;   // in the making
  [[nodiscard]] std::size_t dirty_bytes() const;   // a freeze would take
  [[nodiscard]] std::size_t held_bytes() const;    // dirty ones, and those of a checkpoint under way
  [[nodiscard]] std::size_t cached_bytes() const;  // in memory, dirty ones included

  // Walks all of the tree: structure, bounds, order; `visit` is called with each node's block. For tests and online checks;
  // holds the lock for one node at a time and so wants a tree that nobody changes.
  struct Totals {
    std::uint64_t nodes = 0;
    std::uint64_t leaves = 0;
    std::uint64_t items = 0;
    std::uint64_t used_bytes = 0;  // of items, in leaves
  };
  Result<Totals> check(FunctionRef<void(BlockNo)> visit);

  // For an online check: the leaf that covers `key`. Of each node a walk along the leaves verifies one copy, that of the device, while
  // others change the tree; a node that is freed meanwhile is no alarm.
  Result<VerifiedLeaf> verify_leaf(Key key);

  // All of the tree in order of keys, for fsck: a node that cannot be read or believed is told to the visitor, and what lies
  // beside it is visited all the same. Wants a tree that nobody changes meanwhile.
  struct LostNode {
    BlockNo block;
    std::uint8_t level = 0;
    Key low;  // the keys that were below it
    Key high;
  };
  class Visitor {
   public:
    virtual ~Visitor() = default;
    virtual bool on_node(BlockNo block, std::uint8_t level) = 0;  // false ends the walk with kCancelled
    virtual void on_item(Key key, std::span<const std::byte> value) = 0;
    virtual void on_lost(const LostNode& node, const Error& why) = 0;
  };
  Status walk(Visitor& visitor);

  // For fsck: one key, whatever it means. No block is mapped or freed, nothing is logged: the next checkpoint makes it durable.
  // Allocates at most node_bound(1) blocks, which the caller has reserved.
  Status put_raw(Key key, std::span<const std::byte> value);
  Result<bool> erase_raw(Key key);  // false: there is none
  // For fsck: in the place of a node that is lost, one that holds nothing. What it was, and what was below it, is not freed.
  // Allocates at most node_bound(1) blocks, which the caller has reserved.
  Status replace_lost(const LostNode& lost);

  // The empty tree of a new volume: an empty leaf, to be written to `block`.
  static PageRef make_empty(const DiskUuid& uuid, BlockNo block, CheckpointNo birth);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace weft::fs
