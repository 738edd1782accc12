#include "fs/format_check_node.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "kernel/crc32c.h"

namespace weft::fs {

namespace {

Key key_of(const DiskKey& key) noexcept { return Key::from_raw(key.object, key.tag); }

class NodeChecker {
 public:
  NodeChecker(std::span<const std::byte, kBlockBytes> page, const NodeExpectation& expected)
      : page_(page), expected_(expected) {
    std::memcpy(&node_, page.data(), sizeof(node_));
  }

  Status run(bool with_crc) {
    if (node_.magic != kNodeMagic) return bad("is not a tree node");
    if (with_crc) {
      const le32 zero;
      std::uint32_t crc = crc32c(page_.first(4));
      crc = crc32c(as_bytes_of(zero), crc);
      crc = crc32c(page_.subspan(8), crc);
      if (crc != node_.crc) return bad("has a wrong checksum");
    }
    if (node_.uuid != expected_.uuid) return bad("belongs to another volume");
    if (node_.block != expected_.block.value())
      return bad("was written for block " + std::to_string(node_.block.get()));
    if (node_.birth != expected_.birth.value()) {
      return bad("is of checkpoint " + std::to_string(node_.birth.get()) + " instead of " +
                 std::to_string(expected_.birth.value()));
    }
    if (node_.level != expected_.level || node_.level > kMaxLevel) {
      return bad("is of level " + std::to_string(node_.level) + " instead of " + std::to_string(expected_.level));
    }
    if (key_of(node_.low) != expected_.low || key_of(node_.high) != expected_.high || expected_.low >= expected_.high) {
      return bad("has bounds other than its parent's");
    }
    return node_.level == 0 ? leaf() : inner();
  }

 private:
  [[nodiscard]] Status bad(std::string what) const {
    return fail(Errc::kCorrupt, "tree node in block " + std::to_string(expected_.block.value()) + " " +
                                    std::move(what) + "; run fsck.weft");
  }

  Status leaf() {
    const std::uint32_t count = node_.count;
    const std::uint32_t slots_end = sizeof(DiskNode) + count * static_cast<std::uint32_t>(sizeof(DiskLeafSlot));
    if (slots_end > kBlockBytes || node_.heap_start < slots_end || node_.heap_start > kBlockBytes)
      return bad("has a wrong count");
    std::pair<std::uint16_t, std::uint16_t> places[kBlockBytes / sizeof(DiskLeafSlot)];
    Key previous;
    std::uint64_t mapped_until = 0;  // by extents of the previous key's object
    for (std::uint32_t i = 0; i < count; ++i) {
      DiskLeafSlot slot;
      std::memcpy(&slot, page_.data() + sizeof(DiskNode) + i * sizeof(slot), sizeof(slot));
      const Key key = key_of(slot.key);
      if (key < expected_.low || key >= expected_.high) return bad("has a key out of its bounds");
      if (i != 0 && key <= previous) return bad("has keys out of order");
      if (slot.length > kMaxValueBytes || slot.offset < node_.heap_start || slot.offset > kBlockBytes ||
          slot.length > kBlockBytes - slot.offset) {
        return bad("has a value outside its heap");
      }
      places[i] = {slot.offset, slot.length};
      if (i != 0 && key.object != previous.object) mapped_until = 0;
      if (key.kind() == KeyKind::kExtent) {
        const char* why = nullptr;
        const auto value = page_.subspan(slot.offset, slot.length);
        if (!check_extent(value, key.offset(), expected_.first_block, expected_.end_block, why)) return bad(why);
        if (key.offset() < mapped_until) return bad("has extents that overlap");
        DiskExtent extent;
        std::memcpy(&extent, value.data(), sizeof(extent));
        mapped_until = key.offset() + extent.length;
      }
      previous = key;
    }
    const auto* end = std::remove_if(places, places + count, [](const auto& place) { return place.second == 0; });
    std::sort(places, places + (end - places));
    for (std::uint32_t i = 1; i < end - places; ++i) {
      if (places[i - 1].first + places[i - 1].second > places[i].first) return bad("has values that overlap");
    }
    return {};
  }

  Status inner() {
    const std::uint32_t count = node_.count;
    if (count == 0 || count > kInnerFanout) return bad("has a wrong count");
    Key previous;
    for (std::uint32_t i = 0; i < count; ++i) {
      DiskInnerEntry entry;
      std::memcpy(&entry, page_.data() + sizeof(DiskNode) + i * sizeof(entry), sizeof(entry));
      const Key key = key_of(entry.key);
      if (i == 0 ? key != expected_.low : key <= previous) return bad("has keys out of order");
      if (key >= expected_.high) return bad("has a key out of its bounds");
      const BlockNo child(entry.child.block);
      if (child < expected_.first_block || child >= expected_.end_block || child == expected_.block)
        return bad("has a child outside the data area");
      if (entry.child.birth > expected_.birth.value()) return bad("is older than its child");
      previous = key;
    }
    return {};
  }

  std::span<const std::byte, kBlockBytes> page_;
  const NodeExpectation& expected_;
  DiskNode node_;
};

}  // namespace

bool check_extent(std::span<const std::byte> value, std::uint64_t first, BlockNo first_block, BlockNo end_block,
                  const char*& why) noexcept {
  DiskExtent extent;
  if (value.size() < sizeof(extent)) return why = "has a truncated extent", false;
  std::memcpy(&extent, value.data(), sizeof(extent));
  if ((extent.flags & ~kExtentFlagsKnown) != 0) return why = "has an extent with unknown flags", false;
  const bool plain = extent.flags != 0;
  const std::uint32_t length = extent.length;
  if (length == 0 || length > (plain ? kMaxPlainBlocks : kMaxChecksummedBlocks))
    return why = "has an extent of a wrong length", false;
  if (value.size() != sizeof(extent) + (plain ? 0 : std::size_t{length} * 4))
    return why = "has an extent with wrong checksums", false;
  if (length > kMaxKeyOffset - first) return why = "has an extent past the largest offset", false;
  const BlockNo block(extent.block);
  if (block < first_block || block >= end_block || length > end_block - block)
    return why = "has an extent outside the data area", false;
  return true;
}

Status check_node(std::span<const std::byte, kBlockBytes> page, const NodeExpectation& expected, bool with_crc) {
  return NodeChecker(page, expected).run(with_crc);
}

}  // namespace weft::fs
