#include "fs/node_cache.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "kernel/check.h"

namespace weft::fs {

namespace {

// Some paths of readers at the same time. Fewer clean nodes would only go in circles: a reader would find the node it has just
// loaded gone again, so they stay even where dirty ones alone are more than the limit.
constexpr std::size_t kMinNodes = 64;

void unlink_list(Node* node) noexcept {
  node->previous->next = node->next;
  node->next->previous = node->previous;
}

void link_list_last(Node& head, Node* node) noexcept {
  node->previous = head.previous;
  node->next = &head;
  head.previous->next = node;
  head.previous = node;
}

}  // namespace

NodeCache::NodeCache(std::size_t bytes, Metrics* metrics)
    : hits_(metrics_or_default(metrics).counter("fs.node_cache.hits", "tree nodes that a walk found in memory")),
      misses_(metrics_or_default(metrics).counter("fs.node_cache.misses", "tree nodes that a walk had to wait for")),
      evictions_(metrics_or_default(metrics).counter("fs.node_cache.evictions", "clean tree nodes dropped for room")),
      bytes_(metrics_or_default(metrics).gauge("fs.node_cache.bytes", "of tree nodes in memory")),
      dirty_bytes_(metrics_or_default(metrics).gauge("fs.node_cache.dirty_bytes", "of them not in any checkpoint yet")),
      limit_(std::max(bytes / kBlockBytes, kMinNodes)) {
  const std::size_t buckets = std::bit_ceil(std::min<std::size_t>(limit_, 4096));
  buckets_.resize(buckets);
  shift_ = 64 - static_cast<unsigned>(std::countr_zero(buckets));
  for (Node* head : {&clean_, &dirty_, &writing_}) head->next = head->previous = head;
}

NodeCache::~NodeCache() {
  for (Node* head : {&clean_, &dirty_, &writing_}) {
    while (head->next != head) remove(head->next);
  }
}

Node& NodeCache::list_of(NodeState state) noexcept {
  return state == NodeState::kClean ? clean_ : state == NodeState::kDirty ? dirty_ : writing_;
}

Node* NodeCache::find_any(BlockNo block) const noexcept {
  Node* node = buckets_[bucket_of(block)];
  while (node != nullptr && node->block != block) node = node->hash_next;
  return node;
}

void NodeCache::link_hash(Node* node) {
  Node*& bucket = buckets_[bucket_of(node->block)];
  node->hash_next = bucket;
  bucket = node;
}

void NodeCache::unlink_hash(Node* node) {
  Node** link = &buckets_[bucket_of(node->block)];
  while (*link != node) link = &(*link)->hash_next;
  *link = node->hash_next;
}

void NodeCache::count_dirty(int change) noexcept {
  if (change == 0) return;
  dirty_count_.fetch_add(static_cast<std::size_t>(change), std::memory_order_relaxed);
  dirty_bytes_.add(std::int64_t{change} * kBlockBytes);
}

void NodeCache::set_state(Node* node, NodeState state) {
  if (node->state != state) count_dirty((state == NodeState::kDirty) - int{node->state == NodeState::kDirty});
  count_held((state != NodeState::kClean) - int{node->state != NodeState::kClean});
  clean_count_ += (state == NodeState::kClean) - std::size_t{node->state == NodeState::kClean};
  unlink_list(node);
  node->state = state;
  link_list_last(list_of(state), node);
}

Node* NodeCache::add(BlockNo block, CheckpointNo birth, PageRef page, NodeState state) {
  if (count() >= buckets_.size() * 2) grow();
  Node* node = new Node;
  node->block = block;
  node->birth = birth;
  node->page = std::move(page);
  node->state = state;
  link_hash(node);
  link_list_last(list_of(state), node);
  count_.fetch_add(1, std::memory_order_relaxed);
  bytes_.add(kBlockBytes);
  if (state == NodeState::kDirty) count_dirty(1);
  if (state == NodeState::kClean) ++clean_count_;
  if (state != NodeState::kClean) count_held(1);
  return node;
}

void NodeCache::grow() {
  std::vector<Node*> old(buckets_.size() * 4);
  old.swap(buckets_);
  shift_ -= 2;
  for (Node* node : old) {
    while (node != nullptr) link_hash(std::exchange(node, node->hash_next));
  }
}

void NodeCache::insert_clean(BlockNo block, CheckpointNo birth, PageRef page) {
  if (contains(block)) return;
  add(block, birth, std::move(page), NodeState::kClean);
}

Node* NodeCache::insert_dirty(BlockNo block, CheckpointNo birth, PageRef page) {
  WEFT_CHECK(!contains(block));
  return add(block, birth, std::move(page), NodeState::kDirty);
}

void NodeCache::make_dirty(Node* node, BlockNo block, CheckpointNo birth) {
  WEFT_CHECK(!contains(block));
  if (node->state == NodeState::kWriting) keep_apart();
  unlink_hash(node);
  node->block = block;
  node->birth = birth;
  link_hash(node);
  set_state(node, NodeState::kDirty);
}

// The page of a node at hand stays with the checkpoint that is writing it.
void NodeCache::keep_apart() noexcept {
  ++apart_count_;
  count_held(1);
}

void NodeCache::writing_ended() noexcept {
  count_held(-static_cast<int>(apart_count_));
  apart_count_ = 0;
}

void NodeCache::remove(Node* node) {
  if (node->state == NodeState::kWriting) keep_apart();
  unlink_hash(node);
  unlink_list(node);
  count_.fetch_sub(1, std::memory_order_relaxed);
  bytes_.add(-std::int64_t{kBlockBytes});
  if (node->state == NodeState::kDirty) count_dirty(-1);
  if (node->state == NodeState::kClean) --clean_count_;
  if (node->state != NodeState::kClean) count_held(-1);
  delete node;
}

void NodeCache::evict() {
  // Two rounds of the hand: in the first each node may use up its second chance.
  for (std::size_t steps = 2 * clean_count_; count() + apart_count_ > limit_ && clean_count_ > kMinNodes && steps != 0;
       --steps) {
    Node* node = clean_.next;
    if (node->referenced.exchange(false, std::memory_order_relaxed)) {
      unlink_list(node);
      link_list_last(clean_, node);
    } else {
      evictions_.add();
      remove(node);
    }
  }
}

void NodeCache::written(BlockNo block, CheckpointNo birth) {
  Node* node = find_any(block);
  if (node != nullptr && node->birth == birth && node->state == NodeState::kWriting) set_state(node, NodeState::kClean);
}

}  // namespace weft::fs
