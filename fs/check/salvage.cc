#include "fs/check/salvage.h"

#include <algorithm>
#include <cstring>

#include "fs/aligned_buffer.h"
#include "fs/btree_node.h"
#include "fs/format_check_node.h"

namespace weft::fs::check {
namespace {

constexpr std::uint64_t kReadBlocks = 256;  // at a time

struct KeyRange {
  Key from, to;
};

// Takes [low, high) out of `open` and hands over each part of it that was there.
template <typename F>
void take_out(std::vector<KeyRange>& open, Key low, Key high, F&& taken) {
  std::vector<KeyRange> left;
  for (const KeyRange& range : open) {
    const Key from = std::max(range.from, low);
    const Key to = std::min(range.to, high);
    if (from >= to) {
      left.push_back(range);
      continue;
    }
    taken(from, to);
    if (range.from < from) left.push_back({range.from, from});
    if (to < range.to) left.push_back({to, range.to});
  }
  open = std::move(left);
}

}  // namespace

bool is_leaf_of(std::span<const std::byte, kBlockBytes> page, BlockNo block, const DiskUuid& uuid,
                const Layout& layout) {
  DiskNode node;
  std::memcpy(&node, page.data(), sizeof(node));
  if (node.magic != kNodeMagic || node.level != 0) return false;
  NodeExpectation expected;
  expected.block = block;
  expected.birth = CheckpointNo(node.birth.get());
  expected.low = to_key(node.low);
  expected.high = to_key(node.high);
  expected.uuid = uuid;
  expected.first_block = layout.data_start();
  expected.end_block = layout.data_end();
  return check_node(page, expected).has_value();
}

Result<std::vector<SalvagedRange>> find_leaves(BlockDevice& device, const DiskUuid& uuid, const Layout& layout,
                                               const SpaceMap& claimed, CheckpointNo newest,
                                               std::span<const BTree::LostNode> lost,
                                               FunctionRef<bool(std::uint64_t)> progress) {
  std::vector<SalvagedRange> leaves;
  AlignedBuffer buffer(kReadBlocks * kBlockBytes);
  const auto look_at = [&](BlockNo block, std::span<const std::byte> bytes) {
    const std::span<const std::byte, kBlockBytes> page(bytes.data(), kBlockBytes);
    if (!is_leaf_of(page, block, uuid, layout)) return;
    DiskNode node;
    std::memcpy(&node, page.data(), sizeof(node));
    const Key low = to_key(node.low), high = to_key(node.high);
    if (node.birth > newest.value()) return;
    const bool wanted = std::ranges::any_of(lost, [&](const auto& gone) { return low < gone.high && gone.low < high; });
    if (wanted) leaves.push_back({block, CheckpointNo(node.birth.get()), low, high, low, high});
  };
  for (BlockNo at = layout.data_start(); at < layout.data_end();) {
    if (!progress(at.value())) return fail(Errc::kCancelled);
    if (claimed.is_claimed(at)) {
      ++at;
      continue;
    }
    std::uint64_t count = 1;
    while (count < kReadBlocks && at + count < layout.data_end() && !claimed.is_claimed(at + count)) ++count;
    const auto bytes = buffer.bytes().first(count * kBlockBytes);
    const bool all_read = device.read(at.value() * kBlockBytes, bytes).has_value();
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto page = bytes.subspan(i * kBlockBytes, kBlockBytes);
      if (all_read || device.read((at.value() + i) * kBlockBytes, page)) look_at(at + i, page);
    }
    at = at + count;
  }

  std::ranges::stable_sort(leaves, std::ranges::greater(), &SalvagedRange::birth);
  std::vector<KeyRange> open;
  for (const BTree::LostNode& gone : lost) open.push_back({gone.low, gone.high});
  std::vector<SalvagedRange> chosen;
  for (const SalvagedRange& leaf : leaves) {
    take_out(open, leaf.low, leaf.high, [&](Key from, Key to) {
      chosen.push_back(leaf);
      chosen.back().from = from;
      chosen.back().to = to;
    });
  }
  // Keys that are put in by their order leave full leaves behind: no more of them than there were.
  std::ranges::sort(chosen, {}, &SalvagedRange::from);
  return chosen;
}

}  // namespace weft::fs::check
