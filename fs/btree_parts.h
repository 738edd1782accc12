// fs/btree_parts.h - what btree, btree_change, btree_load and extent_map share of a tree's inside. Not for others.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include "fs/btree.h"
#include "fs/btree_node.h"
#include "fs/format_check_node.h"
#include "fs/lock_ranks.h"
#include "fs/node_cache.h"
#include "fs/transaction_reader.h"
#include "kernel/error.h"
#include "sched/condition_variable.h"
#include "sched/mutex.h"

namespace weft::fs {

// A node that a walk needs and that is not in memory, with all that its parent knows of it.
struct MissingNode {
  BlockNo block;
  CheckpointNo birth;
  std::uint8_t level = 0;
  Key low;
  Key high;
};

// Entry `index` of an inner node, as what to look for.
inline MissingNode child_at(const NodePage& parent, std::uint32_t index) noexcept {
  const DiskInnerEntry& entry = parent.entries()[index];
  return {BlockNo(entry.child.block), CheckpointNo(entry.child.birth),
          static_cast<std::uint8_t>(parent.header().level - 1), to_key(entry.key), parent.entry_high(index)};
}

// A way from the root to a leaf; steps[0] is the root, `index` the entry taken.
struct TreePath {
  struct Step {
    Node* node;
    std::uint32_t index;
  };
  Step steps[kMaxLevel + 2];
  std::uint32_t depth = 0;  // steps; the last one is the leaf

  [[nodiscard]] Node* leaf() const noexcept { return steps[depth - 1].node; }
};

struct BTree::Parts {
  Parts(BlockDevice& disk, Allocator& space, const BTreeConfig& config);

  // -- btree.cc: walking, under the lock, shared at least. Null: `missing` says what to load.
  // A node counts only if it is of the level and the bounds that its parent says: a damaged tree may name a block twice.
  Node* find_in_memory(const MissingNode& wanted) const noexcept;
  Node* find_leaf(Key key, MissingNode& missing) const noexcept;
  bool find_path(Key key, TreePath& path, MissingNode& missing) const noexcept;

  // -- btree_load.cc: reading, without the lock. Pages are checked; nothing else is promised of their freshness.
  struct LoadedNode {
    MissingNode is;
    PageRef page;
  };
  Status read_nodes(std::span<const MissingNode> wanted, std::vector<LoadedNode>& loaded);
  // Under the exclusive lock: into the cache, if the tree still has it. So what is in the cache is of the tree.
  void insert_loaded(const LoadedNode& node);
  // For readers: one node into the cache.
  struct Retry {
    MissingNode last;
    int times = 0;        // that `last` was missing in a row
    bool failed = false;  // reading it, the last time
  };
  Status load(const MissingNode& missing, Retry& retry);

  // btree_verify.cc: what is wrong with the device's copy of a clean node; nothing also if the tree has no such node any more.
  std::optional<Error> verify(const MissingNode& node) const;

  // -- btree_walk.cc: fills in those of `pages` that are null, each as `wanted` says or with why there is none in `errors`.
  void read_children(std::span<const MissingNode> wanted, std::span<PageRef> pages, std::span<Status> errors);
  Status walk_below(const PageRef& page, Visitor& visitor);
  // btree_repair.cc: calls `change` under the exclusive lock with the key's path in memory.
  Status edit_raw(Key key, bool may_shrink, FunctionRef<void()> change);

  // -- btree_plan.cc: what a transaction needs in memory. Under the exclusive lock. Adds to `missing` what is not there.
  Status plan(std::span<const std::byte> transaction, std::vector<MissingNode>& missing) const;
  void plan_key(Key key, bool may_shrink, std::uint32_t changes, std::vector<MissingNode>& missing) const;
  void plan_range(const ChangeView& change, std::vector<MissingNode>& missing) const;

  // Remembers `recent` while it lives.
  class Applying {
   public:
    explicit Applying(Parts& parts) : parts_(parts) { parts.applying = true; }
    ~Applying() {
      parts_.applying = false;
      parts_.recent = nullptr;
    }
    Applying(const Applying&) = delete;
    Applying& operator=(const Applying&) = delete;

   private:
    Parts& parts_;
  };

  // -- btree_change.cc: under the exclusive lock, everything needed in memory. Allocates as node_bound() says.
  void put(Key key, std::span<const std::byte> value);
  bool erase(Key key);  // false: there is none
  void dirty_path(TreePath& path);
  Node* leaf_to_change(Key key);  // dirty, and so all above it
  Node* dirty(Node* node, Node* parent, std::uint32_t index);
  BlockNo fresh_block();
  Node* new_node(std::uint8_t level, Key low, Key high);
  void release(Node* node);
  void split_leaf(TreePath& path, std::uint32_t index, Key key, std::span<const std::byte> value);
  void insert_child(TreePath& path, std::uint32_t depth, std::uint32_t index, Key key, Node* child);
  void shrink(TreePath& path);
  bool remove_empty(TreePath& path);
  bool merge(TreePath& path, std::uint32_t depth);
  void collapse_root();

  // -- extent_map.cc: likewise.
  void map(const ChangeView& change);
  void unmap(InodeNo owner, std::uint64_t first, std::uint64_t count);
  void cut(InodeNo owner, std::uint64_t first, std::uint64_t end);  // what the blocks were goes to cut_blocks
  // The greatest (smallest) item at or below (at or above) `key`; in memory, that is: what plan() did not ask for is not there.
  // The value is valid until the next change.
  struct Item {
    Key key;
    std::span<const std::byte> value;
  };
  std::optional<Item> floor(Key key) const noexcept;
  std::optional<Item> at_or_after(Key key) const noexcept;
  void note_damage(const char* what, BlockRange range);

  BlockDevice& device;
  Allocator& allocator;
  const DiskUuid uuid;
  mutable sched::SharedMutex lock{kTreeLock};
  NodeCache cache;
  TreeRoot root;
  CheckpointNo checkpoint;                     // in the making
  std::atomic<std::uint64_t> checkpoint_seen;  // the same, for who does not hold the lock
  ApplyEffects* effects = nullptr;             // of the apply() at work
  // Changes of one transaction stay close together: the leaf walked to last, to begin with. Null, and kept so, while no apply() is at
  // work, as readers share the lock.
  bool applying = false;
  mutable Node* recent = nullptr;
  std::vector<BlockRange> cut_blocks;  // of the change at work
  BlockNo first_block, end_block;      // data area

  // Reads under way, so that many walkers that miss the same node read it once.
  sched::Mutex reading_lock;
  sched::ConditionVariable reading_done;
  std::unordered_set<std::uint64_t> reading;
};

std::unexpected<Error> claimed_twice(BlockNo block);

}  // namespace weft::fs
