#include "fs/format_check_node.h"

#include <gtest/gtest.h>

#include <functional>

#include "fs/btree_node.h"
#include "fs/format_check.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

constexpr BlockNo kFirst{100}, kEnd{10'000}, kHere{500};
constexpr InodeNo kFile{20};

Key name_key(std::uint64_t offset) { return {kFile, KeyKind::kDirent, offset}; }
Key extent_key(std::uint64_t offset) { return {kFile, KeyKind::kExtent, offset}; }

std::vector<std::byte> extent_of(std::uint64_t block, std::uint32_t length, std::uint32_t flags = 0) {
  std::vector<std::byte> value;
  DiskExtent extent{};
  extent.block = block;
  extent.birth = 1;
  extent.length = length;
  extent.flags = flags;
  test::append_bytes(value, extent);
  if (flags == 0) value.resize(value.size() + std::size_t{length} * 4);
  return value;
}

NodeExpectation expectation(std::uint8_t level) {
  NodeExpectation expected;
  expected.block = kHere;
  expected.birth = CheckpointNo(3);
  expected.level = level;
  expected.low = Key(InodeNo(10), KeyKind::kInode, 0);
  expected.high = Key(InodeNo(30), KeyKind::kInode, 0);
  expected.uuid = test::fixed_uuid();
  expected.first_block = kFirst;
  expected.end_block = kEnd;
  return expected;
}

PageRef make_node(std::uint8_t level) {
  PageRef page = PageRef::make_zeroed();
  NodePage node(page.data());
  const NodeExpectation expected = expectation(level);
  node.format(expected.uuid, level, expected.low, expected.high);
  node.header().block = kHere.value();
  node.header().birth = 3;
  return page;
}

// Three names and two extents.
PageRef good_leaf() {
  PageRef page = make_node(0);
  NodePage node(page.data());
  for (std::uint32_t i = 0; i < 3; ++i) node.insert(i, name_key(i * 10), std::vector<std::byte>(30, std::byte{1}));
  node.insert(3, extent_key(0), extent_of(1000, 4));
  node.insert(4, extent_key(4), extent_of(2000, 100, kExtentUnwritten));
  return page;
}
PageRef good_inner() {
  PageRef page = make_node(1);
  NodePage node(page.data());
  node.insert_entry(0, expectation(1).low, BlockNo(200), CheckpointNo(1));
  node.insert_entry(1, name_key(5), BlockNo(201), CheckpointNo(3));
  return page;
}

// Why `page` is refused after `edit`, its checksum mended; empty if it is not.
std::string refusal(PageRef page, const std::function<void(NodePage&)>& edit, const NodeExpectation& expected) {
  NodePage node(page.data());
  edit(node);
  node.header().crc = crc_with_hole(page.bytes(), offsetof(DiskNode, crc));
  const Status checked = check_node(page.bytes(), expected);
  if (checked) return {};
  EXPECT_EQ(checked.error(), Errc::kCorrupt);
  EXPECT_NE(checked.error().message().find("block 500 "), std::string::npos) << "messages name the block";
  return checked.error().message();
}

struct Case {
  const char* why;
  std::function<void(NodePage&)> edit;
};
void expect_refusals(const PageRef& good, std::uint8_t level, std::span<const Case> cases) {
  EXPECT_EQ(refusal(good.clone(), [](NodePage&) {}, expectation(level)), "");
  for (const Case& each : cases) {
    const std::string why = refusal(good.clone(), each.edit, expectation(level));
    EXPECT_NE(why.find(each.why), std::string::npos) << "wanted: " << each.why << "; got: " << why;
  }
}

TEST(FormatCheckNode, NodeMustBeTheOneThatItsParentMeans) {
  const Case cases[] = {
      {"is not a tree node", [](NodePage& node) { node.header().magic = 1; }},
      {"another volume", [](NodePage& node) { node.header().uuid.bytes[0] ^= 1; }},
      {"was written for block 501", [](NodePage& node) { node.header().block = 501; }},
      {"is of checkpoint 2 instead of 3", [](NodePage& node) { node.header().birth = 2; }},
      {"is of level 1 instead of 0", [](NodePage& node) { node.header().level = 1; }},
      {"bounds other than its parent's", [](NodePage& node) { node.header().low = to_disk(name_key(0)); }},
      {"bounds other than its parent's", [](NodePage& node) { node.header().high = to_disk(Key::highest()); }},
  };
  expect_refusals(good_leaf(), 0, cases);
}

TEST(FormatCheckNode, ChecksumIsOfEveryByteAndLookedAtOnlyWhereThereIsOne) {
  const PageRef page = good_leaf();
  NodePage(page.data()).header().crc = crc_with_hole(page.bytes(), offsetof(DiskNode, crc));
  ASSERT_TRUE(check_node(page.bytes(), expectation(0)));
  for (const std::size_t at : {4ul, 90ul, 2000ul, 4095ul}) {
    const PageRef copy = page.clone();
    copy.data()[at] ^= std::byte{1};
    const Status checked = check_node(copy.bytes(), expectation(0));
    ASSERT_FALSE(checked) << at;
    EXPECT_NE(checked.error().message().find("wrong checksum"), std::string::npos);
  }
  page.data()[4] ^= std::byte{1};
  EXPECT_TRUE(check_node(page.bytes(), expectation(0), false));
}

TEST(FormatCheckNode, LeafsSlotsAndValuesLieWithinItAndApart) {
  const Case cases[] = {
      {"wrong count", [](NodePage& node) { node.header().count = 1000; }},
      {"wrong count", [](NodePage& node) { node.header().heap_start = 100; }},
      {"wrong count", [](NodePage& node) { node.header().heap_start = 4097; }},
      {"outside its heap", [](NodePage& node) { node.slots()[0].offset = 200; }},
      {"outside its heap", [](NodePage& node) { node.slots()[0].offset = 4090; }},
      {"outside its heap", [](NodePage& node) { node.slots()[0].length = kMaxValueBytes + 1; }},
      {"values that overlap", [](NodePage& node) { node.slots()[0].offset = node.slots()[1].offset + 1; }},
      {"keys out of order", [](NodePage& node) { node.slots()[1].key = to_disk(name_key(0)); }},
      {"key out of its bounds",
       [](NodePage& node) { node.slots()[0].key = to_disk(Key(InodeNo(9), KeyKind::kDirent, 0)); }},
      {"key out of its bounds",
       [](NodePage& node) { node.slots()[4].key = to_disk(Key(InodeNo(30), KeyKind::kExtent, 0)); }},
  };
  expect_refusals(good_leaf(), 0, cases);
}

TEST(FormatCheckNode, LeafsExtentsAreWellFormedAndApart) {
  const auto edit_extent = [](const std::function<void(DiskExtent&)>& edit) {
    return [edit](NodePage& node) {
      auto* extent = reinterpret_cast<DiskExtent*>(const_cast<std::byte*>(node.value(3).data()));
      edit(*extent);
    };
  };
  const Case cases[] = {
      {"extents that overlap", [](NodePage& node) { node.slots()[4].key = to_disk(extent_key(3)); }},
      {"truncated extent", [](NodePage& node) { node.slots()[3].length = 20; }},
      {"wrong checksums", [](NodePage& node) { node.slots()[3].length = sizeof(DiskExtent) + 12; }},
      {"unknown flags", edit_extent([](DiskExtent& extent) { extent.flags = 4; })},
      {"wrong length", edit_extent([](DiskExtent& extent) { extent.length = 0; })},
      {"wrong length", edit_extent([](DiskExtent& extent) { extent.length = kMaxChecksummedBlocks + 1; })},
      {"outside the data area", edit_extent([](DiskExtent& extent) { extent.block = 99; })},
      {"outside the data area", edit_extent([](DiskExtent& extent) { extent.block = 9997; })},
      {"outside the data area", edit_extent([](DiskExtent& extent) { extent.block = ~std::uint64_t{0}; })},
  };
  expect_refusals(good_leaf(), 0, cases);
  const char* why = nullptr;
  EXPECT_TRUE(check_extent(extent_of(1000, 4), kMaxKeyOffset - 4, kFirst, kEnd, why));
  EXPECT_FALSE(check_extent(extent_of(1000, 4), kMaxKeyOffset - 3, kFirst, kEnd, why));
  EXPECT_STREQ(why, "has an extent past the largest offset");
}

TEST(FormatCheckNode, InnerNodesEntriesCoverItsRangeAndLeadToTheDataArea) {
  const Case cases[] = {
      {"wrong count", [](NodePage& node) { node.header().count = 0; }},
      {"wrong count", [](NodePage& node) { node.header().count = kInnerFanout + 1; }},
      {"keys out of order", [](NodePage& node) { node.entries()[0].key = to_disk(name_key(0)); }},
      {"keys out of order", [](NodePage& node) { node.entries()[1].key = node.entries()[0].key; }},
      {"key out of its bounds",
       [](NodePage& node) { node.entries()[1].key = to_disk(Key(InodeNo(30), KeyKind::kInode, 0)); }},
      {"child outside the data area", [](NodePage& node) { node.entries()[1].child.block = 99; }},
      {"child outside the data area", [](NodePage& node) { node.entries()[1].child.block = kEnd.value(); }},
      {"child outside the data area", [](NodePage& node) { node.entries()[1].child.block = kHere.value(); }},
      {"older than its child", [](NodePage& node) { node.entries()[1].child.birth = 4; }},
  };
  expect_refusals(good_inner(), 1, cases);
}

TEST(FormatCheckNode, LevelHasABoundWhateverTheParentSays) {
  NodeExpectation expected = expectation(kMaxLevel + 1);
  const std::string why = refusal(good_inner(), [](NodePage& node) { node.header().level = kMaxLevel + 1; }, expected);
  EXPECT_NE(why.find("is of level 16"), std::string::npos) << why;
}

}  // namespace
}  // namespace weft::fs
