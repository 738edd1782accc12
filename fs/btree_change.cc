// fs/btree_change.cc - inserts and erases keys: copy-on-write on the way down, splits and merges on the way up.
//
// All under the tree's exclusive lock with what plan() asked for in memory, so nothing here reads or fails. Every node that is
// edited is made dirty first (T2: from the root down). Nodes that hold little merge with a sibling that is in memory; an empty
// leaf always goes where its neighbour is, its key range to that neighbour.
#include <algorithm>
#include <string>

#include "fs/btree_parts.h"
#include "kernel/check.h"

namespace weft::fs {

namespace {

constexpr std::uint32_t kSmallLeafBytes = kLeafSpace / 4;       // below it, merge ...
constexpr std::uint32_t kMergedLeafBytes = kLeafSpace * 3 / 4;  // ... if the result is not larger than this
constexpr std::uint32_t kSmallInnerCount = kInnerFanout / 4;
constexpr std::uint32_t kMergedInnerCount = kInnerFanout * 3 / 4;

NodePage page_of(const Node* node) noexcept { return NodePage(node->page.data()); }

void set_child(const NodePage& parent, std::uint32_t index, const Node* child) noexcept {
  DiskNodeRef& ref = parent.entries()[index].child;
  ref.block = child->block.value();
  ref.birth = child->birth.value();
}

}  // namespace

// ------------------------------------------------------------------------------------------------------- nodes

// Nothing is in memory under a block that is free, unless a damaged bitmap says so of a node's: that is left alone.
BlockNo BTree::Parts::fresh_block() {
  for (;;) {
    const BlockNo block = allocator.allocate_node();
    if (!cache.contains(block)) return block;
    note_damage("a tree node's block was marked free", {block, 1});
  }
}

Node* BTree::Parts::dirty(Node* node, Node* parent, std::uint32_t index) {
  if (node->birth == checkpoint) return node;
  const BlockNo old = node->block;
  const BlockNo block = fresh_block();
  if (node->page.shared()) node->page = clone_node(node->page);
  cache.make_dirty(node, block, checkpoint);
  DiskNode& header = page_of(node).header();
  header.block = block.value();
  header.birth = checkpoint.value();
  if (!allocator.free({old, 1})) note_damage("tree node's block was not marked used", {old, 1});
  if (parent != nullptr) {
    set_child(page_of(parent), index, node);
  } else {
    root.block = block;
    root.birth = checkpoint;
  }
  return node;
}

void BTree::Parts::dirty_path(TreePath& path) {
  for (std::uint32_t depth = 0; depth < path.depth; ++depth) {
    if (depth == 0) {
      dirty(path.steps[0].node, nullptr, 0);
    } else {
      dirty(path.steps[depth].node, path.steps[depth - 1].node, path.steps[depth - 1].index);
    }
  }
}

Node* BTree::Parts::new_node(std::uint8_t level, Key low, Key high) {
  const BlockNo block = fresh_block();
  PageRef page = PageRef::make_uninitialised();
  NodePage node(page.data());
  node.format(uuid, level, low, high);
  node.header().block = block.value();
  node.header().birth = checkpoint.value();
  return cache.insert_dirty(block, checkpoint, std::move(page));
}

void BTree::Parts::release(Node* node) {
  if (node == recent) recent = nullptr;
  const BlockNo block = node->block;
  const bool sound = node->birth == checkpoint ? allocator.free_unwritten(block) : allocator.free({block, 1});
  if (!sound) note_damage("tree node's block was not marked used", {block, 1});
  cache.remove(node);
}

void BTree::Parts::note_damage(const char* what, BlockRange range) {
  if (effects == nullptr || effects->damage) return;
  effects->damage = std::string(what) + ": block " + std::to_string(range.start.value()) + " + " +
                    std::to_string(range.count) + "; run fsck.weft";
}

// ------------------------------------------------------------------------------------------------------ insert

Node* BTree::Parts::leaf_to_change(Key key) {
  MissingNode missing;
  Node* leaf = find_leaf(key, missing);
  WEFT_CHECK(leaf != nullptr);
  if (leaf->birth == checkpoint) return leaf;  // T2
  TreePath path;
  WEFT_CHECK(find_path(key, path, missing));
  dirty_path(path);
  return path.leaf();
}

void BTree::Parts::put(Key key, std::span<const std::byte> value) {
  NodePage leaf = page_of(leaf_to_change(key));
  const std::uint32_t index = leaf.lower_bound(key);
  const auto size = static_cast<std::uint32_t>(value.size());
  if (index < leaf.count() && leaf.leaf_key(index) == key) {
    const std::uint32_t old_size = leaf.slots()[index].length;
    if (size <= old_size || leaf.has_room(size - old_size)) {
      leaf.replace(index, value);
      return;
    }
    leaf.erase(index);
  } else {
    if (key.kind() == KeyKind::kInode && effects != nullptr) ++effects->inodes;
    if (leaf.has_room(size + sizeof(DiskLeafSlot))) {
      leaf.insert(index, key, value);
      return;
    }
  }
  TreePath path;
  MissingNode missing;
  WEFT_CHECK(find_path(key, path, missing));
  split_leaf(path, index, key, value);
}

// Inserts (key, value) as item `index` of a leaf that has no room for it.
void BTree::Parts::split_leaf(TreePath& path, std::uint32_t index, Key key, std::span<const std::byte> value) {
  NodePage left = page_of(path.leaf());
  const std::uint32_t count = left.count();
  const auto size_of = [&](std::uint32_t item) {  // of count + 1 items, the new one among them
    const std::uint32_t bytes = item == index ? static_cast<std::uint32_t>(value.size())
                                              : left.slots()[item < index ? item : item - 1].length.get();
    return bytes + static_cast<std::uint32_t>(sizeof(DiskLeafSlot));
  };
  // Keys that come in order leave full leaves behind: at the end of the leaf, or of a file's extents within it.
  std::uint32_t at;
  const bool follows = index != 0 && left.leaf_key(index - 1).object == key.object && key.kind() == KeyKind::kExtent;
  if (index == count && count != 0) {
    at = count;
  } else if (follows && left.leaf_key(index).object != key.object && index * 2 > count) {
    at =
        index;  // the new item and what is behind it go right: that is less than all of the leaf, and at most what it held
    std::uint32_t right_bytes = 0;
    for (std::uint32_t item = index; item <= count; ++item) right_bytes += size_of(item);
    if (right_bytes > kLeafSpace * 3 / 4) at = 0;
  } else {
    at = 0;
  }
  if (at == 0) {  // halves by bytes
    std::uint32_t total = 0;
    for (std::uint32_t item = 0; item <= count; ++item) total += size_of(item);
    std::uint32_t left_bytes = size_of(0);
    for (at = 1; at < count && left_bytes + size_of(at) <= total / 2; ++at) left_bytes += size_of(at);
    // Of the two cuts next to the middle, the better one.
    if (at < count) {
      const std::uint32_t with = left_bytes + size_of(at);
      if (std::max(with, total - with) < std::max(left_bytes, total - left_bytes)) ++at;
    }
  }

  const Key middle = at == index ? key : left.leaf_key(at < index ? at : at - 1);
  Node* right_node = new_node(0, middle, left.high());
  NodePage right = page_of(right_node);
  if (at <= index) {
    right.append(left, at, index);
    right.insert(right.count(), key, value);
    right.append(left, index, count);
    left.truncate(at);
  } else {
    right.append(left, at - 1, count);
    left.truncate(at - 1);
    left.insert(index, key, value);
  }
  left.header().high = to_disk(middle);
  insert_child(path, path.depth - 1, path.depth > 1 ? path.steps[path.depth - 2].index + 1 : 0, middle, right_node);
}

// `child` is the new right sibling of path.steps[depth].node; it becomes entry `index` of the parent.
void BTree::Parts::insert_child(TreePath& path, std::uint32_t depth, std::uint32_t index, Key key, Node* child) {
  if (depth == 0) {
    const Node* old_root = path.steps[0].node;
    const auto level = static_cast<std::uint8_t>(root.level + 1);
    Node* new_root = new_node(level, Key::lowest(), Key::highest());
    page_of(new_root).insert_entry(0, Key::lowest(), old_root->block, old_root->birth);
    page_of(new_root).insert_entry(1, key, child->block, child->birth);
    root = {new_root->block, checkpoint, level};
    return;
  }
  NodePage parent = page_of(path.steps[depth - 1].node);
  const std::uint32_t count = parent.count();
  if (count < kInnerFanout) {
    parent.insert_entry(index, key, child->block, child->birth);
    return;
  }
  const std::uint32_t middle = index == count ? count : count / 2;
  const Key right_low = middle == count ? key : parent.entry_key(middle);
  Node* right_node = new_node(parent.header().level, right_low, parent.high());
  NodePage right = page_of(right_node);
  right.append_entries(parent, middle, count);
  parent.header().count = static_cast<std::uint16_t>(middle);
  parent.header().high = to_disk(right_low);
  if (index > middle || middle == count) {
    right.insert_entry(index - middle, key, child->block, child->birth);
  } else {
    parent.insert_entry(index, key, child->block, child->birth);
  }
  insert_child(path, depth - 1, depth > 1 ? path.steps[depth - 2].index + 1 : 0, right_low, right_node);
}

// ------------------------------------------------------------------------------------------------------- erase

bool BTree::Parts::erase(Key key) {
  MissingNode missing;
  const Node* found = find_leaf(key, missing);
  WEFT_CHECK(found != nullptr);
  const std::uint32_t index = page_of(found).lower_bound(key);
  if (index == page_of(found).count() || page_of(found).leaf_key(index) != key) return false;
  NodePage leaf = page_of(leaf_to_change(key));
  leaf.erase(index);
  if (key.kind() == KeyKind::kInode && effects != nullptr) --effects->inodes;
  if (leaf.count() * sizeof(DiskLeafSlot) >= kSmallLeafBytes || leaf.used_bytes() >= kSmallLeafBytes) return true;
  TreePath path;
  WEFT_CHECK(find_path(key, path, missing));
  shrink(path);
  return true;
}

void BTree::Parts::shrink(TreePath& path) {
  const NodePage leaf = page_of(path.leaf());
  if (path.depth == 1) return;
  std::uint32_t depth = path.depth - 1;
  if (leaf.count() == 0) {
    if (!remove_empty(path)) return;
    depth = path.depth - 1;  // now ends at the node that lost an entry
  } else {
    if (!merge(path, depth)) return;
    --depth;
  }
  for (; depth != 0 && page_of(path.steps[depth].node).count() < kSmallInnerCount; --depth) {
    if (!merge(path, depth)) break;
  }
  collapse_root();
}

// path.steps[depth].node (dirty) takes all that a sibling has, if one is in memory and both together are not too much.
bool BTree::Parts::merge(TreePath& path, std::uint32_t depth) {
  Node* node = path.steps[depth].node;
  const NodePage page = page_of(node);
  NodePage parent = page_of(path.steps[depth - 1].node);
  std::uint32_t& index = path.steps[depth - 1].index;
  const auto sibling_at = [&](std::uint32_t at) -> Node* {
    Node* sibling = find_in_memory(child_at(parent, at));
    if (sibling == nullptr) return nullptr;
    const NodePage other = page_of(sibling);
    const bool fits = page.is_leaf() ? page.used_bytes() + other.used_bytes() <= kMergedLeafBytes
                                     : page.count() + other.count() <= kMergedInnerCount;
    return fits ? sibling : nullptr;
  };
  Node* left = nullptr;
  Node* right = index + 1 < parent.count() ? sibling_at(index + 1) : nullptr;
  if (right == nullptr && index != 0) left = sibling_at(index - 1);
  if (right == nullptr && left == nullptr) return false;

  // The result is put together in a page of its own: what is in `node` may have to come second.
  PageRef result = PageRef::make_uninitialised();
  NodePage merged(result.data());
  const NodePage first = left != nullptr ? page_of(left) : page;
  const NodePage second = left != nullptr ? page : page_of(right);
  merged.format(uuid, page.header().level, first.low(), second.high());
  merged.header().block = node->block.value();
  merged.header().birth = node->birth.value();
  for (const NodePage* part : {&first, &second}) {
    if (page.is_leaf()) {
      merged.append(*part, 0, part->count());
    } else {
      merged.append_entries(*part, 0, part->count());
    }
  }
  if (left != nullptr) {
    parent.erase_entry(index);
    --index;
    set_child(parent, index, node);
  } else {
    parent.erase_entry(index + 1);
  }
  release(left != nullptr ? left : right);
  node->page = std::move(result);
  return true;
}

// The path ends in an empty leaf. It goes, with every ancestor that has nothing else; the neighbour's side of the tree takes over
// its key range. Then true, and the path ends at the node that lost an entry. False: no neighbour in memory; the leaf stays.
bool BTree::Parts::remove_empty(TreePath& path) {
  std::uint32_t depth = path.depth - 1;
  while (depth != 0 && page_of(path.steps[depth - 1].node).count() == 1) --depth;
  if (depth == 0) return false;  // an empty tree: collapse_root() has left it one leaf, or will
  TreePath::Step& keeper = path.steps[depth - 1];
  NodePage parent = page_of(keeper.node);
  const std::uint32_t index = keeper.index;

  Node* border[kMaxLevel + 1];
  const auto find_border = [&](std::uint32_t at, bool leftmost) -> std::uint32_t {
    std::uint32_t found = 0;
    for (MissingNode wanted = child_at(parent, at);;) {
      Node* node = find_in_memory(wanted);
      if (node == nullptr) return 0;
      border[found++] = node;
      if (wanted.level == 0) return found;
      wanted = child_at(page_of(node), leftmost ? 0 : page_of(node).count() - 1);
    }
  };
  bool to_right = index + 1 < parent.count();
  std::uint32_t length = to_right ? find_border(index + 1, true) : 0;
  if (length == 0) {
    to_right = false;
    if (index == 0) return false;
    length = find_border(index - 1, false);
    if (length == 0) return false;
  }

  const DiskKey low = to_disk(parent.entry_key(index));
  const DiskKey high = to_disk(parent.entry_high(index));
  Node* above = keeper.node;
  std::uint32_t entry = to_right ? index + 1 : index - 1;
  if (to_right) parent.entries()[index + 1].key = low;
  for (std::uint32_t i = 0; i < length; ++i) {
    Node* node = dirty(border[i], above, entry);
    const NodePage page = page_of(node);
    if (to_right) {
      page.header().low = low;
      if (!page.is_leaf()) page.entries()[0].key = low;
      entry = 0;
    } else {
      page.header().high = high;
      entry = page.is_leaf() ? 0 : page.count() - 1;
    }
    above = node;
  }
  parent.erase_entry(index);
  for (std::uint32_t gone = depth; gone < path.depth; ++gone) release(path.steps[gone].node);
  path.depth = depth;
  return true;
}

void BTree::Parts::collapse_root() {
  while (root.level != 0) {
    Node* node = cache.find(root.block, root.birth);
    WEFT_CHECK(node != nullptr);
    const NodePage page = page_of(node);
    if (page.count() != 1) return;
    const MissingNode child = child_at(page, 0);
    root = {child.block, child.birth, child.level};
    release(node);
    if (find_in_memory(child) == nullptr) return;
  }
}

}  // namespace weft::fs
