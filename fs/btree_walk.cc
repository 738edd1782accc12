// fs/btree_walk.cc - visits all of a tree in order of keys and goes on past what is damaged.
//
// The children of a node are read together: one parent's worth of pages (half a MiB) at each level is in memory. Nothing of it goes
// into the cache, which a walk of everything would only empty. Tests: tests/fs/check/.
#include <algorithm>
#include <shared_mutex>
#include <string>
#include <vector>

#include "fs/btree_parts.h"

namespace weft::fs {

void BTree::Parts::read_children(std::span<const MissingNode> wanted, std::span<PageRef> pages,
                                 std::span<Status> errors) {
  {
    const std::shared_lock guard(lock);
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      if (const Node* node = find_in_memory(wanted[i])) pages[i] = node->page;
    }
  }
  std::vector<std::size_t> absent;
  std::vector<iovec> vectors(wanted.size());
  std::vector<BlockIo> requests;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const MissingNode& node = wanted[i];
    if (pages[i]) {
      errors[i] =
          check_node(pages[i].bytes(),
                     {node.block, node.birth, node.level, node.low, node.high, uuid, first_block, end_block}, false);
      continue;
    }
    if (!allocator.in_data_area({node.block, 1})) {
      errors[i] = fail(Errc::kCorrupt,
                       "tree node in block " + std::to_string(node.block.value()) + " is outside the data area");
      continue;
    }
    pages[i] = PageRef::make_uninitialised();
    vectors[i] = {pages[i].data(), kBlockBytes};
    requests.push_back({BlockOp::kRead, node.block.value() * kBlockBytes, kBlockBytes, {&vectors[i], 1}});
    absent.push_back(i);
  }
  if (requests.empty()) return;
  const bool all_read = device.run(requests).has_value();
  for (std::size_t at = 0; at < absent.size(); ++at) {
    const std::size_t i = absent[at];
    const MissingNode& node = wanted[i];
    if (!all_read) errors[i] = device.run({&requests[at], 1});  // which of them it is
    if (errors[i]) {
      errors[i] = check_node(pages[i].bytes(),
                             {node.block, node.birth, node.level, node.low, node.high, uuid, first_block, end_block});
    }
  }
}

Status BTree::Parts::walk_below(const PageRef& page, Visitor& visitor) {
  const NodePage node(page.data());
  if (node.is_leaf()) {
    for (std::uint32_t i = 0; i < node.count(); ++i) visitor.on_item(node.leaf_key(i), node.value(i));
    return {};
  }
  const std::uint32_t count = node.count();
  std::vector<MissingNode> children;
  children.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) children.push_back(child_at(node, i));
  std::vector<PageRef> pages(count);
  std::vector<Status> errors(count);
  read_children(children, pages, errors);
  for (std::uint32_t i = 0; i < count; ++i) {
    const MissingNode& child = children[i];
    if (!errors[i]) {
      visitor.on_lost({child.block, child.level, child.low, child.high}, errors[i].error());
      continue;
    }
    if (!visitor.on_node(child.block, child.level)) return fail(Errc::kCancelled);
    TRY(walk_below(pages[i], visitor));
    pages[i] = PageRef();
  }
  return {};
}

Status BTree::walk(Visitor& visitor) {
  Parts& parts = *parts_;
  MissingNode top;
  {
    const std::shared_lock guard(parts.lock);
    top = {parts.root.block, parts.root.birth, parts.root.level, Key::lowest(), Key::highest()};
  }
  PageRef page;
  Status error;
  parts.read_children({&top, 1}, {&page, 1}, {&error, 1});
  if (!error) {
    visitor.on_lost({top.block, top.level, top.low, top.high}, error.error());
    return {};
  }
  if (!visitor.on_node(top.block, top.level)) return fail(Errc::kCancelled);
  return parts.walk_below(page, visitor);
}

}  // namespace weft::fs
