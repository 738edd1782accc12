#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fs/btree_node.h"
#include "fs/format_check.h"
#include "tools/describe.h"

namespace weft::tools {
namespace {

using fs::kBlockBytes;

// Bounds of a page whose header may lie: no more items than it has room for.
std::uint32_t items_that_fit(const fs::DiskNode& node) noexcept {
  const std::size_t each = node.level == 0 ? sizeof(fs::DiskLeafSlot) : sizeof(fs::DiskInnerEntry);
  return static_cast<std::uint32_t>(std::min<std::size_t>(node.count, (kBlockBytes - sizeof(fs::DiskNode)) / each));
}

Report leaf_item(std::span<const std::byte, kBlockBytes> page, std::uint32_t index) {
  fs::DiskLeafSlot slot;
  std::memcpy(&slot, page.data() + sizeof(fs::DiskNode) + index * sizeof(slot), sizeof(slot));
  const fs::Key key = fs::to_key(slot.key);
  if (slot.offset > kBlockBytes || slot.length > kBlockBytes - slot.offset) {
    return Report(fmt::format("{}: value at {}+{}", key_text(key), slot.offset.get(), slot.length.get()))
        .wrong("the value is outside the block");
  }
  return describe_item(key, page.subspan(slot.offset, slot.length)).hidden("offset", std::uint64_t{slot.offset});
}

Report inner_item(std::span<const std::byte, kBlockBytes> page, std::uint32_t index) {
  fs::DiskInnerEntry entry;
  std::memcpy(&entry, page.data() + sizeof(fs::DiskNode) + index * sizeof(entry), sizeof(entry));
  Report report(fmt::format("from {}: block {}, born {}", key_text(fs::to_key(entry.key)), entry.child.block.get(),
                            entry.child.birth.get()));
  report.hidden("block", entry.child.block.get()).hidden("birth", entry.child.birth.get());
  return report;
}

}  // namespace

Report describe_node(std::span<const std::byte, kBlockBytes> page, std::string title) {
  Report report(std::move(title));
  fs::DiskNode node;
  std::memcpy(&node, page.data(), sizeof(node));
  report.at(0, "magic", fmt::format("{:08x}", node.magic.get()))
      .at(4, "crc", fmt::format("{:08x}", node.crc.get()))
      .at(8, "uuid", fs::uuid_text(node.uuid))
      .at(24, "block", node.block.get())
      .at(32, "birth", node.birth.get())
      .at(40, "low", key_text(fs::to_key(node.low)))
      .at(56, "high", key_text(fs::to_key(node.high)))
      .at(72, "level", std::uint64_t{node.level}, node.level == 0 ? "leaf" : "")
      .at(76, "count", std::uint64_t{node.count})
      .at(78, "heap_start", std::uint64_t{node.heap_start});
  std::vector<Report> items;
  const std::uint32_t count = items_that_fit(node);
  items.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) items.push_back(node.level == 0 ? leaf_item(page, i) : inner_item(page, i));
  report.list("items", std::move(items));
  return report;
}

Report describe_bytes(std::span<const std::byte> bytes, std::string title) {
  Report report(std::move(title));
  std::vector<Report> rows;
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    const auto row = bytes.subspan(at, std::min<std::size_t>(16, bytes.size() - at));
    if (std::ranges::all_of(row, [](std::byte byte) { return byte == std::byte{0}; })) continue;
    std::string hex;
    std::string letters;
    for (const std::byte byte : row) {
      const auto value = std::to_integer<unsigned>(byte);
      hex += fmt::format(" {:02x}", value);
      letters += value >= 0x20 && value < 0x7f && value != '\\' ? static_cast<char>(value) : '.';
    }
    rows.push_back(Report(fmt::format("{:04x} {:<48}  {}", at, hex, letters)));
  }
  if (rows.empty())
    report.add("content", std::string("zeros"));
  else
    report.list("bytes", std::move(rows));
  return report;
}

}  // namespace weft::tools
