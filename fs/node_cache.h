// fs/node_cache.h - the tree nodes that are in memory, found by block; keeps clean ones within a number of bytes.
//
//   btree -> [node_cache]
//
// States  kDirty    born under the checkpoint in the making; changed in place; not on disk
//         kWriting  a checkpoint that is not yet durable has it; not on disk for sure, so it stays
//         kClean    on disk as it is here; may be evicted (second chance: Corbato's clock)
// Invariant  at most one node a block, and only nodes of the tree as it is (who loads one looks whether it still belongs).
// Locks      none of its own: find() under the tree's lock shared, everything else under it exclusively.
// A checkpoint also has pages that no node has any more: those of nodes that were changed or freed while it was writing. They count
// against the limit, too.
// Metrics    fs.node_cache.{hits,misses,evictions,bytes,dirty_bytes}
// Tests      tests/fs/node_cache_test.cc
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

#include "fs/page.h"
#include "fs/types.h"
#include "kernel/metrics.h"

namespace weft::fs {

enum class NodeState : std::uint8_t { kClean, kDirty, kWriting };

struct Node {
  BlockNo block;
  CheckpointNo birth;
  PageRef page;
  NodeState state = NodeState::kClean;
  std::atomic<bool> referenced{true};  // since the clock's hand last passed
  Node* hash_next = nullptr;
  Node* next = nullptr;  // in the list of its state
  Node* previous = nullptr;
};

class NodeCache {
 public:
  explicit NodeCache(std::size_t bytes, Metrics* metrics = nullptr);  // null: default_metrics()
  ~NodeCache();
  NodeCache(const NodeCache&) = delete;
  NodeCache& operator=(const NodeCache&) = delete;

  [[nodiscard]] Node* find(BlockNo block, CheckpointNo birth) const noexcept {
    for (Node* node = buckets_[bucket_of(block)]; node != nullptr; node = node->hash_next) {
      if (node->block != block) continue;
      if (node->birth != birth) return nullptr;
      if (!node->referenced.load(std::memory_order_relaxed)) node->referenced.store(true, std::memory_order_relaxed);
      return node;
    }
    return nullptr;
  }
  // A walk down the tree found `hits` nodes here and ended at one that was not, or did not. Once a walk, since find() is hot.
  void count_walk(unsigned hits, bool missed) const noexcept {
    if (hits != 0) hits_.add(hits);
    if (missed) misses_.add();
  }
  [[nodiscard]] bool contains(BlockNo block) const noexcept { return find_any(block) != nullptr; }
  // A page as read from disk, now a node of the tree. Ignored if something is there. Evicts nothing: see evict().
  void insert_clean(BlockNo block, CheckpointNo birth, PageRef page);
  // For both of these nothing is at `block`.
  Node* insert_dirty(BlockNo block, CheckpointNo birth, PageRef page);
  // `node` is from now on a dirty one at another place.
  void make_dirty(Node* node, BlockNo block, CheckpointNo birth);
  void remove(Node* node);
  // Clean nodes go until all fit, or few are left.
  void evict();

  // Every dirty node becomes kWriting; visit(node) for each.
  template <typename F>
  void start_writing(F&& visit) {
    while (dirty_.next != &dirty_) {
      Node* node = dirty_.next;
      visit(*node);
      set_state(node, NodeState::kWriting);
    }
  }
  // kWriting -> kClean, if that node is still here.
  void written(BlockNo block, CheckpointNo birth);
  // The checkpoint has let go of its pages.
  void writing_ended() noexcept;

  [[nodiscard]] std::size_t count() const noexcept { return count_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t dirty_count() const noexcept { return dirty_count_.load(std::memory_order_relaxed); }
  // Pages that cannot be evicted: of dirty nodes, and all that a checkpoint under way has.
  [[nodiscard]] std::size_t held_count() const noexcept { return held_count_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] std::size_t bucket_of(BlockNo block) const noexcept {
    return static_cast<std::size_t>(block.value() * 0x9e3779b97f4a7c15u >> shift_);
  }
  Node* find_any(BlockNo block) const noexcept;
  void link_hash(Node* node);
  void unlink_hash(Node* node);
  void count_dirty(int change) noexcept;
  void count_held(int change) noexcept {
    held_count_.fetch_add(static_cast<std::size_t>(change), std::memory_order_relaxed);
  }
  void keep_apart() noexcept;
  void set_state(Node* node, NodeState state);
  Node& list_of(NodeState state) noexcept;
  Node* add(BlockNo block, CheckpointNo birth, PageRef page, NodeState state);
  void grow();

  Counter& hits_;
  Counter& misses_;
  Counter& evictions_;
  Gauge& bytes_;
  Gauge& dirty_bytes_;
  std::size_t limit_;  // nodes
  unsigned shift_;     // 64 - log2 of the number of buckets
  std::vector<Node*> buckets_;
  Node clean_, dirty_, writing_;  // heads of circular lists; the clock's hand is at clean_.next
  std::size_t clean_count_ = 0;
  std::size_t apart_count_ = 0;  // pages that only a checkpoint has
  std::atomic<std::size_t> count_{0};
  std::atomic<std::size_t> dirty_count_{0};
  std::atomic<std::size_t> held_count_{0};
};

}  // namespace weft::fs
