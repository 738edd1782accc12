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

}  // namespace weft::fs
