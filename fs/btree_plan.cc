// fs/btree_plan.cc - says which nodes a transaction needs in memory, so that applying it neither reads nor fails.
//
// Needed are the leaf of every key with its path; for what may shrink, a sibling to merge with; for a range, every leaf that
// overlaps it, the one before (its last extent may reach in, or be merged with) and the one with the range's end.
#include <string>

#include "fs/btree_parts.h"

namespace weft::fs {

namespace {

// A node with less in it than this may end up small enough for a merge.
constexpr std::uint32_t kMayShrinkBytes = kLeafSpace / 2;
constexpr std::uint32_t kMayShrinkEntries = kInnerFanout / 2;

}  // namespace

Status BTree::Parts::plan(std::span<const std::byte> transaction, std::vector<MissingNode>& missing) const {
  if (root.level >= kMaxLevel) return fail(Errc::kCorrupt, "the tree is too high; run fsck.weft");
  auto reader = TRY(TransactionReader::open(transaction));
  while (const auto change = TRY(reader.next())) {
    switch (change->kind) {
      case ChangeKind::kPut: plan_key(change->key, false, reader.changes(), missing); break;
      case ChangeKind::kErase: plan_key(change->key, true, reader.changes(), missing); break;
      case ChangeKind::kMap: {
        const BlockRange blocks{BlockNo(change->extent.block), change->blocks};
        if (!allocator.in_data_area(blocks)) {
          return fail(Errc::kCorrupt,
                      "a transaction maps block " + std::to_string(blocks.start.value()) + " outside the data area");
        }
        plan_range(*change, missing);
        break;
      }
      case ChangeKind::kUnmap: plan_range(*change, missing); break;
    }
  }
  return {};
}

void BTree::Parts::plan_key(Key key, bool may_shrink, std::uint32_t changes, std::vector<MissingNode>& missing) const {
  const Node* leaf = find_leaf(key, missing.emplace_back());
  if (leaf == nullptr) return;
  missing.pop_back();
  const NodePage held(leaf->page.data());
  if (!may_shrink || (held.count() > changes && held.used_bytes() >= kMayShrinkBytes)) return;
  TreePath path;
  MissingNode absent;
  if (!find_path(key, path, absent)) return;
  for (std::uint32_t depth = path.depth - 1; depth != 0; --depth) {
    const NodePage node(path.steps[depth].node->page.data());
    const bool small = node.is_leaf() ? node.count() <= changes || node.used_bytes() < kMayShrinkBytes
                                      : node.count() <= changes || node.count() < kMayShrinkEntries;
    if (!small) return;
    const NodePage parent(path.steps[depth - 1].node->page.data());
    const std::uint32_t index = path.steps[depth - 1].index;
    const auto present = [&](std::uint32_t at) { return find_in_memory(child_at(parent, at)) != nullptr; };
    const bool has_right = index + 1 < parent.count();
    const bool has_left = index != 0;
    if ((has_right && present(index + 1)) || (has_left && present(index - 1))) continue;
    if (has_right || has_left) missing.push_back(child_at(parent, has_right ? index + 1 : index - 1));
  }
}

void BTree::Parts::plan_range(const ChangeView& change, std::vector<MissingNode>& missing) const {
  const InodeNo owner = change.key.owner();
  const Key first_possible(owner, KeyKind::kExtent, 0);
  const Key end(owner, KeyKind::kExtent, change.key.offset() + change.blocks);
  plan_key(change.key, true, 1, missing);

  MissingNode absent;
  const Node* leaf = find_leaf(change.key, absent);
  if (leaf == nullptr) return;
  for (const Node* at = leaf;;) {
    const NodePage page(at->page.data());
    if (page.lower_bound(change.key) != 0 || page.low() <= first_possible) break;
    at = find_leaf(before(page.low()), absent);
    if (at == nullptr) {
      missing.push_back(absent);
      break;
    }
  }
  for (Key next = NodePage(leaf->page.data()).high(); next <= end && next != Key::highest();) {
    const Node* at = find_leaf(next, absent);
    if (at != nullptr) {
      next = NodePage(at->page.data()).high();
    } else {
      missing.push_back(absent);
      // All leaves below a missing inner node are asked for in the next round.
      next = absent.high;
    }
  }
  plan_key(end, true, 1, missing);
}

}  // namespace weft::fs
