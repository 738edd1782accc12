// fs/btree_repair.cc - changes of single keys that mean nothing to the tree: fsck's way of putting wrong ones right.
//
//   check/repair -> [btree_repair] -> btree_plan, btree_change
//
// A transaction could not do it: it refuses keys of unknown kinds, and moves blocks when it changes extents.
#include <mutex>
#include <vector>

#include "fs/btree_parts.h"

namespace weft::fs {

Status BTree::Parts::edit_raw(Key key, bool may_shrink, FunctionRef<void()> change) {
  constexpr int kMaxRounds = 1000;
  std::vector<MissingNode> missing;
  std::vector<LoadedNode> loaded;
  for (int rounds = 0; rounds < kMaxRounds; ++rounds) {
    {
      const std::unique_lock guard(lock);
      for (const LoadedNode& node : loaded) insert_loaded(node);
      missing.clear();
      plan_key(key, may_shrink, 1, missing);
      if (missing.empty()) {
        loaded.clear();
        change();
        cache.evict();
        return {};
      }
    }
    TRY(read_nodes(missing, loaded));
  }
  return claimed_twice(missing.front().block);
}

Status BTree::put_raw(Key key, std::span<const std::byte> value) {
  if (value.size() > kMaxValueBytes) return fail(Errc::kInvalid, "a value too large for a node");
  return parts_->edit_raw(key, false, [&] { parts_->put(key, value); });
}

Result<bool> BTree::erase_raw(Key key) {
  bool there = false;
  TRY(parts_->edit_raw(key, true, [&] { there = parts_->erase(key); }));
  return there;
}

Status BTree::replace_lost(const LostNode& lost) {
  Parts& parts = *parts_;
  std::vector<Parts::LoadedNode> loaded;
  for (int level = 0; level <= 2 * static_cast<int>(kMaxLevel); ++level) {  // each round brings one more into memory
    MissingNode at;
    {
      const std::unique_lock guard(parts.lock);
      for (const Parts::LoadedNode& node : loaded) parts.insert_loaded(node);
      loaded.clear();
      at = {parts.root.block, parts.root.birth, parts.root.level, Key::lowest(), Key::highest()};
      if (at.block == lost.block && at.level == lost.level) {
        const Node* leaf = parts.new_node(0, at.low, at.high);
        parts.root = {leaf->block, parts.checkpoint, 0};
        return {};
      }
      TreePath path;
      bool present = true;
      while (at.level > lost.level) {
        Node* node = parts.find_in_memory(at);
        present = node != nullptr;
        if (!present) break;
        const NodePage page(node->page.data());
        const std::uint32_t index = page.child_of(lost.low);
        path.steps[path.depth++] = {node, index};
        at = child_at(page, index);
      }
      if (present) {
        if (at.block != lost.block) return fail(Errc::kInternal, "the lost node is not in the tree");
        parts.dirty_path(path);
        const Node* top = parts.new_node(0, at.low, at.high);
        for (std::uint8_t above = 1; above <= lost.level; ++above) {
          const Node* inner = parts.new_node(above, at.low, at.high);
          NodePage(inner->page.data()).insert_entry(0, at.low, top->block, top->birth);
          top = inner;
        }
        const TreePath::Step& parent = path.steps[path.depth - 1];
        DiskNodeRef& ref = NodePage(parent.node->page.data()).entries()[parent.index].child;
        ref.block = top->block.value();
        ref.birth = top->birth.value();
        return {};
      }
    }
    TRY(parts.read_nodes({&at, 1}, loaded));
  }
  return claimed_twice(lost.block);
}

}  // namespace weft::fs
