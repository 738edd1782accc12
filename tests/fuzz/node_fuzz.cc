// Tree nodes: one of a small volume's, patched and its checksum mended. What passes check_node() must bear being looked at and
// edited, and be well-formed after each edit.
//
// Input: which node (u8), then patches of its block (see patch()).
#include <algorithm>

#include "fs/btree_node.h"
#include "fs/format_check.h"
#include "fs/format_check_node.h"
#include "kernel/check.h"
#include "tests/fuzz/fuzz_input.h"
#include "tests/support/damaged_volume.h"

namespace {

using namespace weft;
using namespace weft::fs;

std::vector<PageRef> nodes_of_small_volume() {
  std::vector<PageRef> nodes;
  for (const BlockNo block : test::metadata_blocks()) {
    PageRef page = PageRef::make_zeroed();
    test::small_volume().read(block.value() * kBlockBytes, page.bytes());
    if (NodePage(page.data()).header().magic == kNodeMagic) nodes.push_back(std::move(page));
  }
  return nodes;
}

void use_inner(const NodePage& node) {
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    WEFT_CHECK(node.child_of(node.entry_key(i)) == i);
    WEFT_CHECK(node.entry_key(i) < node.entry_high(i));
  }
}

void use_leaf(NodePage node, PageRef& page, const NodeExpectation& expected) {
  const auto still_good = [&] { WEFT_CHECK(check_node(page.bytes(), expected, false)); };
  std::uint32_t sum = 0;
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    WEFT_CHECK(node.lower_bound(node.leaf_key(i)) == i);
    for (const std::byte byte : node.value(i)) sum += std::to_integer<std::uint32_t>(byte);
  }
  WEFT_CHECK(node.used_bytes() <= kLeafSpace && (sum == 0 || node.count() != 0));
  std::vector<std::byte> longer(kMaxValueBytes, std::byte{'x'});
  for (std::uint32_t i = 0; i < node.count(); ++i) {
    const Key key = node.leaf_key(i);
    if (key.kind() == KeyKind::kExtent) continue;
    const auto size = static_cast<std::uint32_t>(node.value(i).size());
    const std::uint32_t wanted = std::min<std::uint32_t>(size + 100, kMaxValueBytes);
    if (wanted > size && node.has_room(wanted - size)) node.replace(i, std::span(longer).first(wanted));
    still_good();
    if (i % 2 == 0) node.erase(i);
    still_good();
    const std::uint32_t again = node.lower_bound(key);
    if ((again == node.count() || node.leaf_key(again) != key) && node.has_room(20 + 700))
      node.insert(again, key, std::span(longer).first(700));
    still_good();
  }
  node.truncate(node.count() / 2);
  still_good();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size_bytes) {
  static const std::vector<PageRef> originals = nodes_of_small_volume();
  fuzz::FuzzInput input(data, size_bytes);
  PageRef page = originals[input.take<std::uint8_t>() % originals.size()].clone();
  fuzz::patch(page.bytes(), input);
  NodePage node(page.data());
  DiskNode& header = node.header();
  header.crc = crc_with_hole(page.bytes(), offsetof(DiskNode, crc));
  // The parent believes what the node says of itself: the checks of these would keep out too much.
  const NodeExpectation expected{BlockNo(header.block.get()),
                                 CheckpointNo(header.birth.get()),
                                 header.level,
                                 to_key(header.low),
                                 to_key(header.high),
                                 header.uuid,
                                 BlockNo(100),
                                 BlockNo(1'000'000)};
  if (!check_node(page.bytes(), expected)) return 0;
  if (node.is_leaf()) {
    use_leaf(node, page, expected);
  } else {
    use_inner(node);
  }
  return 0;
}
