#include "fs/check/space_map.h"

#include <algorithm>

namespace weft::fs::check {

void append_range(std::vector<BlockRange>& ranges, BlockRange range) {
  if (!ranges.empty() && ranges.back().end() == range.start) {
    ranges.back().count += range.count;
  } else {
    ranges.push_back(range);
  }
}

GroupBitmap& SpaceMap::make(std::uint32_t number) {
  std::unique_ptr<GroupBitmap>& slot = groups_[number];
  if (slot == nullptr) {
    std::byte bytes[kBlockBytes];
    layout_.initial_bitmap(number, bytes);
    slot = std::make_unique<GroupBitmap>();
    slot->load(bytes);
  }
  return *slot;
}

void SpaceMap::claim(BlockRange range, std::vector<BlockRange>& twice) {
  while (range.count != 0) {
    const auto number = static_cast<std::uint32_t>(range.start.value() / kBlocksPerGroup);
    const auto first = static_cast<std::uint32_t>(range.start.value() % kBlocksPerGroup);
    const auto count = static_cast<std::uint32_t>(std::min<std::uint64_t>(range.count, kBlocksPerGroup - first));
    GroupBitmap& bits = make(number);
    if (bits.count_set(first, count) != 0) {
      for (std::uint32_t bit = bits.next_set(first); bit < first + count; bit = bits.next_set(bit + 1)) {
        append_range(twice, {BlockNo(std::uint64_t{number} * kBlocksPerGroup + bit), 1});
      }
    }
    bits.set(first, count);
    range = {range.start + count, range.count - count};
  }
}

bool SpaceMap::is_claimed(BlockNo block) const {
  const GroupBitmap* bits = group(static_cast<std::uint32_t>(block.value() / kBlocksPerGroup));
  if (bits == nullptr) return layout_.is_fixed(block);
  return bits->get(static_cast<std::uint32_t>(block.value() % kBlocksPerGroup));
}

const GroupBitmap* SpaceMap::group(std::uint32_t number) const {
  const auto found = groups_.find(number);
  return found == groups_.end() ? nullptr : found->second.get();
}

std::vector<std::uint32_t> SpaceMap::free_counts() const {
  std::vector<std::uint32_t> counts(layout_.group_count);
  for (std::uint32_t number = 0; number < layout_.group_count; ++number) {
    const GroupBitmap* bits = group(number);
    counts[number] = bits != nullptr ? kBlocksPerGroup - bits->count_set() : layout_.initially_free(number);
  }
  return counts;
}

std::uint64_t SpaceMap::free_blocks() const {
  std::uint64_t sum = 0;
  for (const std::uint32_t count : free_counts()) sum += count;
  return sum;
}

Status SpaceMap::load_bitmap(std::uint32_t number, std::span<std::byte, kBlockBytes> bitmap) {
  if (const GroupBitmap* bits = group(number)) {
    bits->store(bitmap);
  } else {
    layout_.initial_bitmap(number, bitmap);
  }
  return {};
}

}  // namespace weft::fs::check
