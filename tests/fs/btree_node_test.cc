#include "fs/btree_node.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "fs/format_check_node.h"

namespace weft::fs {
namespace {

TEST(BTreeNode, StaysWellFormedUnderRandomEdits) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    PageRef page = PageRef::make_uninitialised();
    NodePage node(page.data());
    node.format(DiskUuid{}, 0, Key::lowest(), Key::highest());
    std::map<Key, std::string> model;
    for (int step = 0; step < 2000; ++step) {
      const Key key(InodeNo(1), KeyKind::kDirent, random() % 60);
      const std::string value(random() % 4 == 0 ? 0 : random() % 200, static_cast<char>('a' + step % 26));
      const auto bytes = std::as_bytes(std::span(value));
      const std::uint32_t index = node.lower_bound(key);
      if (index < node.count() && node.leaf_key(index) == key) {
        if (random() % 2 == 0) {
          node.erase(index);
          model.erase(key);
        } else if (value.size() <= node.value(index).size() ||
                   node.has_room(static_cast<std::uint32_t>(value.size() - node.value(index).size()))) {
          node.replace(index, bytes);
          model[key] = value;
        }
      } else if (node.has_room(static_cast<std::uint32_t>(value.size() + sizeof(DiskLeafSlot)))) {
        node.insert(index, key, bytes);
        model[key] = value;
      }
      NodeExpectation expected;
      expected.end_block = BlockNo(1000);
      const Status status = check_node(page.bytes(), expected, false);
      ASSERT_TRUE(status) << status.error().message() << " at step " << step;
      ASSERT_EQ(node.count(), model.size());
      std::uint32_t at = 0;
      for (const auto& [model_key, model_value] : model) {
        ASSERT_EQ(node.leaf_key(at), model_key);
        const auto found = node.value(at++);
        ASSERT_EQ(std::string(reinterpret_cast<const char*>(found.data()), found.size()), model_value);
      }
    }
  }
}

TEST(BTreeNode, FindsTheChildThatCoversAKey) {
  PageRef page = PageRef::make_uninitialised();
  NodePage node(page.data());
  node.format(DiskUuid{}, 1, Key::lowest(), Key::highest());
  const auto key = [](std::uint64_t n) { return Key(InodeNo(n), KeyKind::kInode, 0); };
  node.insert_entry(0, Key::lowest(), BlockNo(10), CheckpointNo(0));
  for (std::uint32_t i = 1; i < kInnerFanout; ++i) node.insert_entry(i, key(i * 10), BlockNo(10 + i), CheckpointNo(0));
  EXPECT_EQ(node.child_of(Key::lowest()), 0u);
  EXPECT_EQ(node.child_of(key(9)), 0u);
  for (std::uint32_t i = 1; i < kInnerFanout; ++i) {
    EXPECT_EQ(node.child_of(key(i * 10)), i);
    EXPECT_EQ(node.child_of(before(key(i * 10))), i - 1);
    EXPECT_EQ(node.child_of(key(i * 10 + 9)), i);
  }
}

}  // namespace
}  // namespace weft::fs
