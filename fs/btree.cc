#include "fs/btree.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>

#include "fs/btree_parts.h"
#include "kernel/check.h"
#include "kernel/crc32c.h"

namespace weft::fs {

namespace {

// A level a round, and others' changes in between: far more than a sound tree takes.
constexpr int kMaxRounds = 1000;

}  // namespace

BTree::Parts::Parts(BlockDevice& disk, Allocator& space, const BTreeConfig& config)
    : device(disk),
      allocator(space),
      uuid(config.uuid),
      cache(config.cache_bytes, config.metrics),
      root(config.root),
      checkpoint(config.checkpoint),
      checkpoint_seen(config.checkpoint.value()),
      first_block(space.first_block()),
      end_block(space.end_block()) {}

BTree::BTree(BlockDevice& device, Allocator& allocator, const BTreeConfig& config)
    : parts_(std::make_unique<Parts>(device, allocator, config)) {}

BTree::~BTree() = default;

// ----------------------------------------------------------------------------------------------------- walking

Node* BTree::Parts::find_in_memory(const MissingNode& wanted) const noexcept {
  Node* node = cache.find(wanted.block, wanted.birth);
  if (node == nullptr) return nullptr;
  const NodePage page(node->page.data());
  const bool same = page.header().level == wanted.level && page.low() == wanted.low && page.high() == wanted.high;
  return same ? node : nullptr;
}

Node* BTree::Parts::find_leaf(Key key, MissingNode& missing) const noexcept {
  if (recent != nullptr) {
    const NodePage page(recent->page.data());
    if (page.low() <= key && key < page.high()) return recent;
  }
  missing = {root.block, root.birth, root.level, Key::lowest(), Key::highest()};
  for (;;) {
    Node* node = find_in_memory(missing);
    if (node == nullptr || missing.level == 0) {
      cache.count_walk(root.level - missing.level + (node != nullptr ? 1u : 0u), node == nullptr);
      if (applying) recent = node;
      return node;
    }
    const NodePage page(node->page.data());
    missing = child_at(page, page.child_of(key));
  }
}

bool BTree::Parts::find_path(Key key, TreePath& path, MissingNode& missing) const noexcept {
  missing = {root.block, root.birth, root.level, Key::lowest(), Key::highest()};
  path.depth = 0;
  for (;;) {
    Node* node = find_in_memory(missing);
    if (node == nullptr || missing.level == 0)
      cache.count_walk(root.level - missing.level + (node != nullptr ? 1u : 0u), node == nullptr);
    if (node == nullptr) return false;
    if (missing.level == 0) {
      path.steps[path.depth++] = {node, 0};
      return true;
    }
    const NodePage page(node->page.data());
    const std::uint32_t index = page.child_of(key);
    path.steps[path.depth++] = {node, index};
    missing = child_at(page, index);
  }
}

Result<bool> BTree::get(Key key, FunctionRef<void(std::span<const std::byte>)> visit) {
  Parts::Retry retry;
  for (MissingNode missing;;) {
    {
      const std::shared_lock lock(parts_->lock);
      if (const Node* leaf = parts_->find_leaf(key, missing)) {
        const NodePage page(leaf->page.data());
        const std::uint32_t index = page.lower_bound(key);
        if (index == page.count() || page.leaf_key(index) != key) return false;
        visit(page.value(index));
        return true;
      }
    }
    TRY(parts_->load(missing, retry));
  }
}

Status BTree::scan(Key from, Key to, FunctionRef<bool(Key, std::span<const std::byte>)> visit) {
  Parts::Retry retry;
  for (MissingNode missing; from < to;) {
    {
      const std::shared_lock lock(parts_->lock);
      while (const Node* leaf = parts_->find_leaf(from, missing)) {
        const NodePage page(leaf->page.data());
        const std::uint32_t count = page.count();
        for (std::uint32_t index = page.lower_bound(from); index < count; ++index) {
          const Key key = page.leaf_key(index);
          if (key >= to) return {};
          if (!visit(key, page.value(index))) return {};
        }
        from = page.high();
        if (from >= to) return {};
      }
    }
    TRY(parts_->load(missing, retry));
  }
  return {};
}

Result<bool> BTree::last(Key from, Key to, FunctionRef<void(Key, std::span<const std::byte>)> visit) {
  Parts::Retry retry;
  for (MissingNode missing; from < to;) {
    {
      const std::shared_lock lock(parts_->lock);
      while (const Node* leaf = parts_->find_leaf(before(to), missing)) {
        const NodePage page(leaf->page.data());
        if (const std::uint32_t index = page.lower_bound(to); index != 0) {
          const Key key = page.leaf_key(index - 1);
          if (key < from) return false;
          visit(key, page.value(index - 1));
          return true;
        }
        to = page.low();
        if (to <= from) return false;
      }
    }
    TRY(parts_->load(missing, retry));
  }
  return false;
}

// ---------------------------------------------------------------------------------------------------- changing

Status BTree::apply(std::span<const std::byte> transaction, ApplyEffects& effects, FunctionRef<void()> in_order) {
  Parts& parts = *parts_;
  std::vector<MissingNode> missing;
  std::vector<Parts::LoadedNode> loaded;  // kept to the end: what others evict meanwhile goes in again
  int failures = 0;
  for (int rounds = 0;; ++rounds) {
    {
      const std::unique_lock lock(parts.lock);
      for (const auto& node : loaded) parts.insert_loaded(node);
      missing.clear();
      const Parts::Applying applying(parts);
      TRY(parts.plan(transaction, missing));
      if (missing.empty()) {
        loaded.clear();  // so that no page counts as shared
        parts.effects = &effects;
        auto reader = TransactionReader::open(transaction);
        Status status;
        for (auto change = reader->next(); change && *change; change = reader->next()) {
          const Key key = (*change)->key;
          switch ((*change)->kind) {
            case ChangeKind::kPut:
              parts.put(key, (*change)->value);
              if (key.kind() == KeyKind::kInode) effects.highest_inode = std::max(effects.highest_inode, key.object);
              break;
            case ChangeKind::kErase:
              if (!parts.erase(key)) {
                status = fail(Errc::kCorrupt, "a transaction erases what does not exist: object " +
                                                  std::to_string(key.object) + ", tag " + std::to_string(key.tag) +
                                                  "; run fsck.weft");
              }
              break;
            case ChangeKind::kMap: parts.map(**change); break;
            case ChangeKind::kUnmap: parts.unmap(key.owner(), key.offset(), (*change)->blocks); break;
          }
          if (!status) break;
        }
        parts.effects = nullptr;
        parts.cache.evict();
        if (status) in_order();
        return status;
      }
    }
    // A node may have been freed and its block overwritten since plan() saw it; not again and again, though. And what a tree
    // has can be had in memory, unless two nodes of it claim the same block.
    if (rounds == kMaxRounds) return claimed_twice(missing.front().block);
    Status status = parts.read_nodes(missing, loaded);
    if (!status && (status.error().code() != Errc::kCorrupt || ++failures == 3)) return status;
  }
}

Status BTree::parse(std::span<const std::byte> transaction, FunctionRef<Status(const MappedExtent&)> mapped) {
  auto reader = TRY(TransactionReader::open(transaction));
  while (const auto change = TRY(reader.next())) {
    if (change->kind != ChangeKind::kMap) continue;
    MappedExtent extent;
    extent.blocks = {BlockNo(change->extent.block), change->extent.length};
    extent.flags = change->extent.flags;
    extent.fresh = change->fresh;
    const auto sums = change->value.subspan(sizeof(DiskExtent));
    extent.checksums = {reinterpret_cast<const le32*>(sums.data()), sums.size() / 4};
    TRY(mapped(extent));
  }
  return {};
}

// -------------------------------------------------------------------------------------------------- checkpoint

Result<FrozenTree> BTree::freeze(FunctionRef<Status()> also) {
  Parts& parts = *parts_;
  const std::unique_lock lock(parts.lock);
  TRY(also());
  FrozenTree frozen;
  frozen.checkpoint = parts.checkpoint;
  frozen.root = parts.root;
  frozen.nodes.reserve(parts.cache.dirty_count());
  parts.cache.start_writing([&](const Node& node) { frozen.nodes.push_back({node.block, node.page}); });
  std::sort(frozen.nodes.begin(), frozen.nodes.end(),
            [](const FrozenNode& a, const FrozenNode& b) { return a.block < b.block; });
  ++parts.checkpoint;
  parts.checkpoint_seen.store(parts.checkpoint.value(), std::memory_order_relaxed);
  return frozen;
}

void BTree::written(const FrozenTree& frozen) {
  const std::unique_lock lock(parts_->lock);
  for (const FrozenNode& node : frozen.nodes) parts_->cache.written(node.block, frozen.checkpoint);
  parts_->cache.writing_ended();
  parts_->cache.evict();
}

void BTree::seal(const FrozenNode& node) noexcept {
  const auto page = node.page.bytes();
  const le32 zero;
  std::uint32_t crc = crc32c(page.first(4));
  crc = crc32c(as_bytes_of(zero), crc);
  crc = crc32c(page.subspan(8), crc);
  NodePage(node.page.data()).header().crc = crc;
}

PageRef BTree::make_empty(const DiskUuid& uuid, BlockNo block, CheckpointNo birth) {
  PageRef page = PageRef::make_zeroed();
  NodePage node(page.data());
  node.format(uuid, 0, Key::lowest(), Key::highest());
  node.header().block = block.value();
  node.header().birth = birth.value();
  seal({block, page});
  return page;
}

// ----------------------------------------------------------------------------------------------------- numbers

// A change touches up to three leaves with their paths (extent_map: the extent before, the new one, the rest behind), and each
// node touched may be copied and split once. A level has at most kInnerFanout times the nodes of the one above. The rest is for
// a root that grows and for what a sweep of an unmap holds while it goes from leaf to leaf.
std::uint64_t BTree::node_bound(std::uint64_t changes) const {
  constexpr std::uint64_t kLeavesPerChange = 3;
  const std::uint8_t top = root().level;
  const std::uint64_t touched = std::min<std::uint64_t>(changes, 1u << 20) * kLeavesPerChange;
  std::uint64_t bound = 6 + 2 * (std::uint64_t{top} + 1);
  std::uint64_t in_level = 1;
  for (int level = top; level >= 0; --level) {
    bound += 2 * std::min(touched, in_level);
    in_level = std::min<std::uint64_t>(in_level * kInnerFanout, std::uint64_t{1} << 40);
  }
  // Splits make nodes that later changes of the same transaction split again.
  return bound + touched;
}

TreeRoot BTree::root() const {
  const std::shared_lock lock(parts_->lock);
  return parts_->root;
}

CheckpointNo BTree::checkpoint() const {
  const std::shared_lock lock(parts_->lock);
  return parts_->checkpoint;
}

std::size_t BTree::dirty_bytes() const { return parts_->cache.dirty_count() * kBlockBytes; }
std::size_t BTree::held_bytes() const { return parts_->cache.held_count() * kBlockBytes; }
std::size_t BTree::cached_bytes() const { return parts_->cache.count() * kBlockBytes; }

// ------------------------------------------------------------------------------------------------------- check

Result<BTree::Totals> BTree::check(FunctionRef<void(BlockNo)> visit) {
  Totals totals;
  Parts& parts = *parts_;
  std::vector<MissingNode> stack;
  {
    const std::shared_lock lock(parts.lock);
    stack.push_back({parts.root.block, parts.root.birth, parts.root.level, Key::lowest(), Key::highest()});
  }
  while (!stack.empty()) {
    const MissingNode at = stack.back();
    stack.pop_back();
    PageRef page;
    while (!page) {
      std::vector<Parts::LoadedNode> loaded;
      {
        const std::shared_lock lock(parts.lock);
        if (const Node* node = parts.find_in_memory(at)) page = node->page;
      }
      if (page) break;
      TRY(parts.read_nodes({&at, 1}, loaded));
      if (!loaded.empty()) page = loaded.front().page;
    }
    TRY(check_node(page.bytes(),
                   {at.block, at.birth, at.level, at.low, at.high, parts.uuid, parts.first_block, parts.end_block},
                   false));
    visit(at.block);
    ++totals.nodes;
    const NodePage node(page.data());
    if (at.level == 0) {
      ++totals.leaves;
      totals.items += node.count();
      totals.used_bytes += node.used_bytes();
      continue;
    }
    for (std::uint32_t i = node.count(); i-- > 0;) stack.push_back(child_at(node, i));
  }
  return totals;
}

}  // namespace weft::fs
