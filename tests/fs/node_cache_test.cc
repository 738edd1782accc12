#include "fs/node_cache.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace weft::fs {
namespace {

constexpr std::size_t kLimit = 100;  // nodes

struct NodeCacheTest : ::testing::Test {
  Metrics metrics;
  NodeCache cache{kLimit * kBlockBytes, &metrics};

  Node* find(std::uint64_t block, std::uint64_t birth = 1) { return cache.find(BlockNo(block), CheckpointNo(birth)); }
  void add_clean(std::uint64_t block, std::uint64_t birth = 1) {
    cache.insert_clean(BlockNo(block), CheckpointNo(birth), PageRef::make_uninitialised());
  }
  Node* add_dirty(std::uint64_t block, std::uint64_t birth = 2) {
    return cache.insert_dirty(BlockNo(block), CheckpointNo(birth), PageRef::make_uninitialised());
  }
  std::int64_t gauge(const char* name) { return metrics.gauge(name, "").value(); }
};

TEST_F(NodeCacheTest, NodeIsFoundByItsBlockAndOnlyWithItsBirth) {
  add_clean(7);
  ASSERT_NE(find(7), nullptr);
  EXPECT_EQ(find(7)->block, BlockNo(7));
  EXPECT_EQ(find(7, 2), nullptr) << "another node, which had the block before or after";
  EXPECT_TRUE(cache.contains(BlockNo(7)));
  EXPECT_EQ(find(8), nullptr);
}

TEST_F(NodeCacheTest, SecondPageOfABlockIsIgnored) {
  add_clean(7, 1);
  const std::byte* first = find(7)->page.data();
  add_clean(7, 1);
  EXPECT_EQ(cache.count(), 1u);
  EXPECT_EQ(find(7)->page.data(), first);
}

TEST_F(NodeCacheTest, NodesAreFoundWhenTheTableHasGrownManyTimes) {
  for (std::uint64_t block = 0; block < 20'000; ++block) add_dirty(block * 4096, block);
  for (std::uint64_t block = 0; block < 20'000; ++block) ASSERT_NE(find(block * 4096, block), nullptr) << block;
  EXPECT_EQ(cache.count(), 20'000u);
}

TEST_F(NodeCacheTest, NodeThatMovesIsFoundAtItsNewPlaceAndDirty) {
  add_clean(7);
  cache.make_dirty(find(7), BlockNo(9), CheckpointNo(2));
  EXPECT_EQ(find(7), nullptr);
  ASSERT_NE(find(9, 2), nullptr);
  EXPECT_EQ(find(9, 2)->state, NodeState::kDirty);
  EXPECT_EQ(cache.dirty_count(), 1u);
}

TEST_F(NodeCacheTest, CheckpointTakesAllDirtyNodesAndThoseItWroteAreClean) {
  add_dirty(1);
  add_dirty(2);
  add_clean(3);
  std::set<std::uint64_t> taken;
  cache.start_writing([&](const Node& node) { taken.insert(node.block.value()); });
  EXPECT_EQ(taken, (std::set<std::uint64_t>{1, 2}));
  EXPECT_EQ(cache.dirty_count(), 0u);
  EXPECT_EQ(find(1, 2)->state, NodeState::kWriting);
  // Meanwhile the tree changed node 1, which got a place of its own; the checkpoint's stays on disk only.
  cache.make_dirty(find(1, 2), BlockNo(10), CheckpointNo(3));
  cache.written(BlockNo(1), CheckpointNo(2));
  cache.written(BlockNo(2), CheckpointNo(2));
  EXPECT_EQ(find(2, 2)->state, NodeState::kClean);
  EXPECT_EQ(find(10, 3)->state, NodeState::kDirty);
  EXPECT_EQ(cache.dirty_count(), 1u);
}

TEST_F(NodeCacheTest, BlockUsedAgainIsNotTakenForWritten) {
  Node* node = add_dirty(1, 2);
  cache.start_writing([](const Node&) {});
  cache.remove(node);
  add_dirty(1, 3);
  cache.start_writing([](const Node&) {});
  cache.written(BlockNo(1), CheckpointNo(2));
  EXPECT_EQ(find(1, 3)->state, NodeState::kWriting) << "that was the checkpoint before";
}

TEST_F(NodeCacheTest, CleanNodesGoWhenThereAreTooManyAndOthersNever) {
  for (std::uint64_t block = 0; block < 60; ++block) add_dirty(block);
  for (std::uint64_t block = 100; block < 220; ++block) add_clean(block);
  cache.evict();
  EXPECT_EQ(cache.dirty_count(), 60u);
  EXPECT_EQ(cache.count(), 60 + 64u) << "some clean ones stay, so that readers do not go in circles";
  for (std::uint64_t block = 0; block < 60; ++block) ASSERT_NE(find(block, 2), nullptr);
  EXPECT_EQ(metrics.counter("fs.node_cache.evictions", "").value(), 56u);
}

TEST_F(NodeCacheTest, PagesThatOnlyACheckpointHasCountUntilItLetsGo) {
  std::vector<Node*> nodes;
  for (std::uint64_t block = 0; block < 20; ++block) nodes.push_back(add_dirty(block));
  EXPECT_EQ(cache.held_count(), 20u);
  cache.start_writing([](const Node&) {});
  EXPECT_EQ(cache.held_count(), 20u);
  // While it writes, five of its nodes change and five are freed.
  for (std::uint64_t i = 0; i < 5; ++i) cache.make_dirty(nodes[i], BlockNo(1000 + i), CheckpointNo(3));
  for (std::uint64_t i = 5; i < 10; ++i) cache.remove(nodes[i]);
  EXPECT_EQ(cache.held_count(), 25u);
  for (std::uint64_t block = 100; block < 200; ++block) add_clean(block);
  cache.evict();
  EXPECT_EQ(cache.count() + 10, kLimit) << "what is held apart takes room from clean ones";
  for (std::uint64_t block = 0; block < 20; ++block) cache.written(BlockNo(block), CheckpointNo(2));
  cache.writing_ended();
  EXPECT_EQ(cache.held_count(), 5u);
  cache.remove(find(1000, 3));
  EXPECT_EQ(cache.held_count(), 4u);
}

TEST_F(NodeCacheTest, NodeThatWasLookedAtOutlivesOneThatWasNot) {
  for (std::uint64_t block = 0; block < kLimit; ++block) add_clean(block);
  add_clean(1000);
  cache.evict();  // all have been referenced once, by coming: the hand goes round and takes the oldest
  EXPECT_EQ(find(0), nullptr);
  for (std::uint64_t block = 1; block < 50; ++block) ASSERT_NE(find(block), nullptr);
  for (std::uint64_t block = 2000; block < 2030; ++block) add_clean(block);
  cache.evict();
  EXPECT_EQ(cache.count(), kLimit);
  for (std::uint64_t block = 1; block < 50; ++block) EXPECT_TRUE(cache.contains(BlockNo(block))) << block;
  EXPECT_FALSE(cache.contains(BlockNo(50)));
}

TEST_F(NodeCacheTest, BytesAreThoseOfTheNodesThatAreThere) {
  {
    NodeCache another(kLimit * kBlockBytes, &metrics);
    another.insert_clean(BlockNo(1), CheckpointNo(1), PageRef::make_uninitialised());
    add_dirty(1);
    add_dirty(2);
    add_clean(3);
    EXPECT_EQ(gauge("fs.node_cache.bytes"), 4 * kBlockBytes) << "two volumes' add up";
    EXPECT_EQ(gauge("fs.node_cache.dirty_bytes"), 2 * kBlockBytes);
  }
  EXPECT_EQ(gauge("fs.node_cache.bytes"), 3 * kBlockBytes);
  cache.remove(find(1, 2));
  cache.start_writing([](const Node&) {});
  EXPECT_EQ(gauge("fs.node_cache.bytes"), 2 * kBlockBytes);
  EXPECT_EQ(gauge("fs.node_cache.dirty_bytes"), 0);
  cache.count_walk(3, true);
  EXPECT_EQ(metrics.counter("fs.node_cache.hits", "").value(), 3u);
  EXPECT_EQ(metrics.counter("fs.node_cache.misses", "").value(), 1u);
}

}  // namespace
}  // namespace weft::fs
