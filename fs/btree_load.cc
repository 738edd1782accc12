// fs/btree_load.cc - reads nodes that a walk did not find in memory: without the tree's lock, each once however many want it.
#include <algorithm>
#include <mutex>
#include <string>
#include <utility>

#include "fs/btree_parts.h"

namespace weft::fs {

Status BTree::Parts::read_nodes(std::span<const MissingNode> wanted, std::vector<LoadedNode>& loaded) {
  std::vector<MissingNode> mine;
  {
    std::unique_lock guard(reading_lock);
    for (const MissingNode& node : wanted) {
      if (reading.insert(node.block.value()).second) mine.push_back(node);
    }
    if (mine.empty()) {  // others are at it: the caller's next walk finds what they bring
      if (!wanted.empty()) reading_done.wait(guard, [&] { return !reading.contains(wanted.front().block.value()); });
      return {};
    }
  }

  std::vector<PageRef> pages;
  std::vector<iovec> vectors;
  std::vector<BlockIo> requests;
  pages.reserve(mine.size());
  vectors.reserve(mine.size());
  requests.reserve(mine.size());
  Status status;
  for (const MissingNode& node : mine) {
    if (node.birth.value() >= checkpoint_seen.load(std::memory_order_relaxed)) {
      status = fail(Errc::kCorrupt, "tree node in block " + std::to_string(node.block.value()) +
                                        " is of a checkpoint to come; run fsck.weft");
    }
    if (!allocator.in_data_area({node.block, 1})) {
      status = fail(Errc::kCorrupt, "tree node in block " + std::to_string(node.block.value()) +
                                        " is outside the data area; run fsck.weft");
    }
    pages.push_back(PageRef::make_uninitialised());
    vectors.push_back({pages.back().data(), kBlockBytes});
    requests.push_back({BlockOp::kRead, node.block.value() * kBlockBytes, kBlockBytes, {&vectors.back(), 1}});
  }
  if (status) status = device.run(requests);
  std::size_t good = 0;
  if (status) {
    for (std::size_t i = 0; i < mine.size(); ++i) {
      const MissingNode& node = mine[i];
      Status check = check_node(
          pages[i].bytes(), {node.block, node.birth, node.level, node.low, node.high, uuid, first_block, end_block});
      if (!check) {
        if (status) status = std::move(check);
        continue;
      }
      loaded.push_back({node, pages[i]});
      ++good;
    }
  }
  if (good != 0) {
    const std::unique_lock tree_guard(lock);
    for (std::size_t i = loaded.size() - good; i < loaded.size(); ++i) {
      insert_loaded(loaded[i]);
    }
    cache.evict();
  }
  {
    const std::lock_guard guard(reading_lock);
    for (const MissingNode& node : mine) reading.erase(node.block.value());
  }
  reading_done.notify_all();
  return status;
}

void BTree::Parts::insert_loaded(const LoadedNode& node) {
  MissingNode at{root.block, root.birth, root.level, Key::lowest(), Key::highest()};
  while (at.level > node.is.level) {
    const Node* above = find_in_memory(at);
    if (above == nullptr) return;  // evicted meanwhile: the walk starts with that one
    const NodePage page(above->page.data());
    at = child_at(page, page.child_of(node.is.low));
  }
  if (at.block == node.is.block && at.birth == node.is.birth && at.level == node.is.level) {
    cache.insert_clean(node.is.block, node.is.birth, node.page);
  }
}

std::unexpected<Error> claimed_twice(BlockNo block) {
  return fail(Errc::kCorrupt, "tree nodes claim block " + std::to_string(block.value()) + " twice; run fsck.weft");
}

// Failing once to read a node may mean that it was freed and overwritten after the walk that wanted it; twice in a row is an
// error.
Status BTree::Parts::load(const MissingNode& missing, Retry& retry) {
  constexpr int kMaxTimes = 1000;
  const bool same = retry.times != 0 && retry.last.block == missing.block && retry.last.birth == missing.birth;
  const bool failed_before = same && retry.failed;
  retry = {missing, same ? retry.times + 1 : 1, false};
  if (retry.times > kMaxTimes) return claimed_twice(missing.block);
  std::vector<LoadedNode> loaded;
  Status status = read_nodes({&missing, 1}, loaded);
  if (status) return {};
  if (failed_before || status.error().code() != Errc::kCorrupt) return status;
  retry.failed = true;
  return {};
}

}  // namespace weft::fs
