// fs/extent_map.cc - applies kMap and kUnmap: which blocks of the volume a file's blocks are.
//
//   btree (apply) -> [extent_map] -> btree_change, allocator
//
// Invariant  extents of one file do not overlap, and an extent's blocks are used and nobody else's. Both sides of a cut keep
//            their checksums. Blocks that a kMap takes away and gives back (an unwritten extent that gets written) stay used.
// Runs under the tree's exclusive lock with every overlapped leaf in memory; neither reads nor fails.
// Tests      tests/fs/extent_map_test.cc
#include <algorithm>
#include <cstring>

#include "fs/btree_parts.h"

namespace weft::fs {

namespace {

constexpr std::size_t kMaxExtentBytes = sizeof(DiskExtent) + kMaxChecksummedBlocks * 4;

bool is_extent_of(Key key, InodeNo owner) noexcept { return key.owner() == owner && key.kind() == KeyKind::kExtent; }
Key extent_key(InodeNo owner, std::uint64_t first) noexcept { return {owner, KeyKind::kExtent, first}; }

// A copy of an extent and its checksums: the tree's own bytes move with every change.
class ExtentCopy {
 public:
  ExtentCopy(std::uint64_t first, std::span<const std::byte> value) noexcept : first_(first) {
    std::memcpy(bytes_, value.data(), std::min(value.size(), sizeof(bytes_)));
    std::memcpy(&extent_, bytes_, sizeof(extent_));
  }
  [[nodiscard]] std::uint64_t first() const noexcept { return first_; }
  [[nodiscard]] std::uint64_t end() const noexcept { return first_ + extent_.length; }
  [[nodiscard]] std::uint64_t block() const noexcept { return extent_.block; }
  [[nodiscard]] std::uint32_t length() const noexcept { return extent_.length; }
  [[nodiscard]] std::uint64_t birth() const noexcept { return extent_.birth; }
  [[nodiscard]] std::uint32_t flags() const noexcept { return extent_.flags; }
  [[nodiscard]] bool checksummed() const noexcept { return flags() == 0; }
  [[nodiscard]] std::uint32_t max_length() const noexcept {
    return checksummed() ? kMaxChecksummedBlocks : kMaxPlainBlocks;
  }
  [[nodiscard]] std::span<const std::byte> value() const noexcept {
    return {bytes_, sizeof(DiskExtent) + (checksummed() ? std::size_t{length()} * 4 : 0)};
  }
  void set_birth(std::uint64_t birth) noexcept {
    extent_.birth = birth;
    save();
  }

  // Only [from, to), file blocks within it, is left.
  void keep(std::uint64_t from, std::uint64_t to) noexcept {
    const std::uint64_t skipped = from - first_;
    if (checksummed() && skipped != 0) std::memmove(sums(), sums() + skipped * 4, (to - from) * 4);
    extent_.block = extent_.block + skipped;
    extent_.length = static_cast<std::uint32_t>(to - from);
    first_ = from;
    save();
  }
  // Whether `next` goes on where this ends, in the file and on the volume, in every respect.
  [[nodiscard]] bool continues_with(const ExtentCopy& next) const noexcept {
    return end() == next.first() && block() + length() == next.block() && birth() == next.birth() &&
           flags() == next.flags() && length() + next.length() <= max_length();
  }
  void append(const ExtentCopy& next) noexcept {
    if (checksummed())
      std::memcpy(sums() + std::size_t{length()} * 4, next.bytes_ + sizeof(DiskExtent), std::size_t{next.length()} * 4);
    extent_.length = length() + next.length();
    save();
  }

 private:
  std::byte* sums() noexcept { return bytes_ + sizeof(DiskExtent); }
  void save() noexcept { std::memcpy(bytes_, &extent_, sizeof(extent_)); }

  std::uint64_t first_;
  DiskExtent extent_;
  std::byte bytes_[kMaxExtentBytes];
};

// Calls visit(part) for each part of `range` that is in none of `holes`.
template <typename F>
void for_each_outside(BlockRange range, std::span<const BlockRange> holes, F&& visit) {
  if (range.count == 0) return;
  for (std::size_t i = 0; i < holes.size(); ++i) {
    const BlockRange hole = holes[i];
    if (hole.end() <= range.start || range.end() <= hole.start) continue;
    if (hole.start > range.start)
      for_each_outside({range.start, hole.start - range.start}, holes.subspan(i + 1), visit);
    if (hole.end() < range.end()) for_each_outside({hole.end(), range.end() - hole.end()}, holes.subspan(i + 1), visit);
    return;
  }
  visit(range);
}

}  // namespace

std::optional<BTree::Parts::Item> BTree::Parts::floor(Key key) const noexcept {
  MissingNode missing;
  for (Key at = key;;) {
    const Node* leaf = find_leaf(at, missing);
    if (leaf == nullptr) return std::nullopt;
    const NodePage page(leaf->page.data());
    std::uint32_t index = page.lower_bound(key);
    if (index == page.count() || page.leaf_key(index) != key) {
      if (index == 0) {
        if (page.low() == Key::lowest()) return std::nullopt;
        at = before(page.low());
        continue;
      }
      --index;
    }
    return Item{page.leaf_key(index), page.value(index)};
  }
}

std::optional<BTree::Parts::Item> BTree::Parts::at_or_after(Key key) const noexcept {
  MissingNode missing;
  for (Key at = key; at != Key::highest();) {
    const Node* leaf = find_leaf(at, missing);
    if (leaf == nullptr) return std::nullopt;
    const NodePage page(leaf->page.data());
    const std::uint32_t index = page.lower_bound(key);
    if (index != page.count()) return Item{page.leaf_key(index), page.value(index)};
    at = page.high();
  }
  return std::nullopt;
}

void BTree::Parts::cut(InodeNo owner, std::uint64_t first, std::uint64_t end) {
  cut_blocks.clear();
  const auto take_out = [&](const ExtentCopy& extent) {
    const std::uint64_t from = std::max(first, extent.first());
    const std::uint64_t to = std::min(end, extent.end());
    cut_blocks.push_back({BlockNo(extent.block() + (from - extent.first())), to - from});
    if (extent.first() < first) {
      ExtentCopy head = extent;
      head.keep(extent.first(), first);
      put(extent_key(owner, extent.first()), head.value());
    } else {
      erase(extent_key(owner, extent.first()));
    }
    if (extent.end() > end) {
      ExtentCopy tail = extent;
      tail.keep(end, extent.end());
      put(extent_key(owner, end), tail.value());
    }
  };
  const Key start = extent_key(owner, first);
  if (const auto item = floor(start); item && item->key < start && is_extent_of(item->key, owner)) {
    const ExtentCopy extent(item->key.offset(), item->value);
    if (extent.end() > first) take_out(extent);
  }
  for (;;) {
    const auto item = at_or_after(start);
    if (!item || !is_extent_of(item->key, owner) || item->key.offset() >= end) return;
    take_out(ExtentCopy(item->key.offset(), item->value));
  }
}

void BTree::Parts::unmap(InodeNo owner, std::uint64_t first, std::uint64_t count) {
  cut(owner, first, first + count);
  for (const BlockRange& range : cut_blocks) {
    if (!allocator.free(range)) note_damage("freed blocks that were not marked used", range);
  }
}

void BTree::Parts::map(const ChangeView& change) {
  const InodeNo owner = change.key.owner();
  const std::uint64_t first = change.key.offset();
  const std::uint64_t end = first + change.blocks;
  const BlockRange blocks{BlockNo(change.extent.block), change.blocks};
  cut(owner, first, end);
  for (const BlockRange& range : cut_blocks) {
    for_each_outside(range, {&blocks, 1}, [&](BlockRange part) {
      if (!allocator.free(part)) note_damage("freed blocks that were not marked used", part);
    });
  }
  for_each_outside(blocks, cut_blocks, [&](BlockRange part) {
    if (!allocator.commit_used(part)) note_damage("mapped blocks that were not set aside", part);
  });

  ExtentCopy extent(first, change.value);
  extent.set_birth(checkpoint.value());
  if (const auto item = at_or_after(extent_key(owner, end)); item && item->key == extent_key(owner, end)) {
    const ExtentCopy next(end, item->value);
    if (extent.continues_with(next)) {
      extent.append(next);
      erase(extent_key(owner, end));
    }
  }
  if (first != 0) {
    const auto item = floor(extent_key(owner, first - 1));
    if (item && is_extent_of(item->key, owner)) {
      ExtentCopy previous(item->key.offset(), item->value);
      if (previous.continues_with(extent)) {
        previous.append(extent);
        put(extent_key(owner, previous.first()), previous.value());
        return;
      }
    }
  }
  put(extent_key(owner, first), extent.value());
}

}  // namespace weft::fs
