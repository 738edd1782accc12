// fs/btree_verify.cc - tree nodes as the device has them, compared with what the tree expects there while it is in use.
//
// The way to a leaf is taken in memory; then, without the lock, what of it is on the device is read again. What does not fit counts
// only if the tree still expects it after that: a node may be freed, and its block overwritten, at any time.
// Tests: tests/fs/scrub_test.cc
#include <algorithm>
#include <mutex>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "fs/btree_parts.h"

namespace weft::fs {
namespace {

constexpr int kReads = 2;  // of a node that is not as expected, before that is said

}  // namespace

Result<VerifiedLeaf> BTree::verify_leaf(Key key) {
  Parts& parts = *parts_;
  VerifiedLeaf result;
  std::vector<MissingNode> way;  // what there is to verify of it
  Parts::Retry retry;
  for (MissingNode missing;;) {
    {
      const std::shared_lock lock(parts.lock);
      TreePath path;
      if (parts.find_path(key, path, missing)) {
        const NodePage leaf(path.leaf()->page.data());
        result.low = leaf.low();
        result.high = leaf.high();
        for (std::uint32_t i = 0; i < path.depth; ++i) {
          const Node& node = *path.steps[i].node;
          const NodePage page(node.page.data());
          if (node.state != NodeState::kClean || page.low() != result.low) continue;
          way.push_back({node.block, node.birth, page.header().level, page.low(), page.high()});
        }
        break;
      }
    }
    if (auto status = parts.load(missing, retry); !status) {
      if (status.error().code() != Errc::kCorrupt && status.error().code() != Errc::kIo) return fail(status.error());
      result.low = missing.low;
      result.high = missing.high;
      result.nodes = 1;
      result.readable = false;
      result.bad.push_back({missing.block, std::move(status).error()});
      return result;
    }
  }
  for (const MissingNode& node : way) {
    ++result.nodes;
    if (auto why = parts.verify(node)) result.bad.push_back({node.block, std::move(*why)});
  }
  return result;
}

std::optional<Error> BTree::Parts::verify(const MissingNode& node) const {
  PageRef page = PageRef::make_uninitialised();
  std::optional<Error> why;
  for (int reads = 0; reads < kReads; ++reads) {
    Status status = device.read(node.block.value() * kBlockBytes, page.bytes());
    if (status) {
      status = check_node(page.bytes(),
                          {node.block, node.birth, node.level, node.low, node.high, uuid, first_block, end_block});
    }
    if (status) return std::nullopt;
    why = std::move(status).error();
    const std::shared_lock guard(lock);
    const Node* now = find_in_memory(node);
    // Evicted is not gone, but then the next walk reads it, and will say so.
    if (now == nullptr || now->state != NodeState::kClean) return std::nullopt;
  }
  return why;
}

}  // namespace weft::fs
