#include "fs/btree.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/fs/tree_world.h"

namespace weft::fs {
namespace {

using testing::CrashingModel;
using testing::Script;
using testing::TreeWorld;

Key dirent(std::uint64_t object, std::uint64_t offset) { return {InodeNo(object), KeyKind::kDirent, offset}; }

std::optional<std::string> value_of(BTree& tree, Key key) {
  std::optional<std::string> found;
  const auto result = tree.get(key, [&](std::span<const std::byte> value) {
    found.emplace(reinterpret_cast<const char*>(value.data()), value.size());
  });
  EXPECT_TRUE(result) << result.error().message();
  EXPECT_EQ(*result, found.has_value());
  return found;
}

TEST(BTree, GivesBackWhatWasPutAndReplacesIt) {
  TreeWorld world(1024);
  Script script;
  script.put(dirent(1, 5), "five").put(dirent(1, 4), "four").put(dirent(1, 5), "cinq");
  ASSERT_TRUE(world.apply(script));
  EXPECT_EQ(value_of(*world.tree, dirent(1, 5)), "cinq");
  EXPECT_EQ(value_of(*world.tree, dirent(1, 4)), "four");
  EXPECT_EQ(value_of(*world.tree, dirent(1, 6)), std::nullopt);
  Script erase;
  erase.erase(dirent(1, 5));
  ASSERT_TRUE(world.apply(erase));
  EXPECT_EQ(value_of(*world.tree, dirent(1, 5)), std::nullopt);
}

TEST(BTree, LosesWhatWasNotCheckpointedAndKeepsWhatWas) {
  TreeWorld world(1024);
  Script kept;
  kept.put(dirent(1, 1), "kept");
  ASSERT_TRUE(world.apply(kept));
  world.checkpoint();
  Script lost;
  lost.put(dirent(1, 1), "changed").put(dirent(1, 2), "lost");
  ASSERT_TRUE(world.apply(lost));
  world.open();
  EXPECT_EQ(value_of(*world.tree, dirent(1, 1)), "kept");
  EXPECT_EQ(value_of(*world.tree, dirent(1, 2)), std::nullopt);
  world.check(0);
}

TEST(BTree, LeavesFrozenPagesAloneWhileItChanges) {
  TreeWorld world(1024);
  Script first;
  first.put(dirent(1, 1), "before");
  ASSERT_TRUE(world.apply(first));
  world.freeze();
  Script second;
  second.put(dirent(1, 1), "after!");
  ASSERT_TRUE(world.apply(second));
  EXPECT_EQ(value_of(*world.tree, dirent(1, 1)), "after!");
  world.finish();
  EXPECT_EQ(value_of(*world.tree, dirent(1, 1)), "after!");
  world.open();
  EXPECT_EQ(value_of(*world.tree, dirent(1, 1)), "before");
}

TEST(BTree, FindsTheLastKeyOfARange) {
  TreeWorld world(4096);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Script script;
    script.put(dirent(1, i * 2), std::string(50, 'x'));
    ASSERT_TRUE(world.apply(script));
  }
  for (std::uint64_t to = 1; to < 2000; to += 7) {
    Key found;
    const auto result = world.tree->last(dirent(1, 0), dirent(1, to), [&](Key key, auto) { found = key; });
    ASSERT_TRUE(result && *result);
    EXPECT_EQ(found, dirent(1, (to - 1) / 2 * 2));
  }
  EXPECT_FALSE(*world.tree->last(dirent(1, 501), dirent(1, 502), [](Key, auto) {}));
  EXPECT_FALSE(*world.tree->last(dirent(0, 0), dirent(1, 0), [](Key, auto) {}));
}

TEST(BTree, FillsLeavesWhenKeysComeInOrder) {
  TreeWorld world(4096);
  for (std::uint64_t i = 0; i < 4000; ++i) {
    Script script;
    script.put(dirent(1, i), std::string(40, 'x'));
    ASSERT_TRUE(world.apply(script));
  }
  const BTree::Totals totals = world.check(0);
  EXPECT_GT(totals.used_bytes * 100 / (totals.leaves * 4000), 97u);
}

TEST(BTree, GivesNodesBackAsKeysGo) {
  for (const std::uint64_t step : {1u, 7u, 1009u}) {  // ascending, and two ways to jump about
    TreeWorld world(8192);
    constexpr std::uint64_t kKeys = 5003;
    for (std::uint64_t i = 0; i < kKeys; ++i) {
      Script script;
      script.put(dirent(1, i), std::string(60, 'x'));
      ASSERT_TRUE(world.apply(script));
    }
    world.checkpoint();
    const auto full = world.check(0);
    EXPECT_GT(full.leaves, 80u);
    for (std::uint64_t i = 0; i < kKeys; ++i) {
      Script script;
      script.erase(dirent(1, i * step % kKeys));
      ASSERT_TRUE(world.apply(script)) << i;
      if (i == kKeys * 9 / 10) {
        EXPECT_LT(world.check(0).leaves, full.leaves / 2) << step;
      }
    }
    const auto empty = world.check(0);
    EXPECT_EQ(empty.nodes, 1u) << step;
    EXPECT_EQ(world.tree->root().level, 0);
  }
}

TEST(BTree, RefusesToEraseWhatIsNotThere) {
  TreeWorld world(1024);
  Script script;
  script.erase(dirent(1, 1));
  const Status status = world.apply(script);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::kCorrupt);
}

TEST(BTree, CountsInodesThatComeAndGo) {
  TreeWorld world(1024);
  const auto inode = [](std::uint64_t number) { return Key(InodeNo(number), KeyKind::kInode, 0); };
  const std::string value(sizeof(DiskInode), 'i');
  Script script;
  script.put(inode(20), value).put(inode(30), value).put(inode(20), value);
  ApplyEffects effects;
  ASSERT_TRUE(world.apply(script, effects));
  EXPECT_EQ(effects.inodes, 2);
  EXPECT_EQ(effects.highest_inode, 30u);
  Script gone;
  gone.erase(inode(20));
  ApplyEffects after;
  ASSERT_TRUE(world.apply(gone, after));
  EXPECT_EQ(after.inodes, -1);
}

TEST(BTree, ReportsADamagedNodeAndDoesNotFollowIt) {
  TreeWorld world(4096);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    Script script;
    script.put(dirent(1, i), std::string(60, 'x'));
    ASSERT_TRUE(world.apply(script));
  }
  world.checkpoint();
  world.open();
  const BlockNo root = world.tree->root().block;
  world.disk.block(root)[200] ^= std::byte{1};
  const auto result = world.tree->get(dirent(1, 1), [](auto) {});
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Errc::kCorrupt);
  EXPECT_NE(result.error().message().find("block " + std::to_string(root.value())), std::string::npos);
  Script script;
  script.put(dirent(1, 1), "y");
  EXPECT_EQ(world.apply(script).error().code(), Errc::kCorrupt);
}

TEST(BTree, DiscardsMalformedTransactionsUntouched) {
  TreeWorld world(1024);
  Script script;
  script.put(dirent(1, 1), "value").erase(dirent(1, 1)).map(20, 0, {BlockNo(100), 1}, 0, {7}).unmap(20, 0, 1);
  const auto good = script.bytes();
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    std::vector<std::byte> bytes(good.begin(), good.end());
    for (int flips = 0; flips < 3; ++flips) bytes[random() % bytes.size()] = static_cast<std::byte>(random());
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    (void)BTree::parse(bytes, [](const BTree::MappedExtent& extent) -> Status {
      EXPECT_TRUE(extent.checksums.empty() || extent.checksums.size() == extent.blocks.count);
      return {};
    });
  }
}

// Random changes against a map, with checkpoints frozen and finished at random moments, crashes, and a cache that holds little.
TEST(BTree, BehavesLikeAMapUnderRandomChanges) {
  for (const std::uint64_t seed : {1u, 2u, 3u}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    TreeWorld world(16384);
    CrashingModel<std::map<Key, std::string>> states;
    auto& model = states.now;
    std::uint64_t keys = 3000;
    for (int step = 0; step < 6000; ++step) {
      if (step % 2000 == 1999) keys = 300;  // a time of much erasing
      Script script;
      const bool growing = step / 1500 % 2 == 0;
      for (std::uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
        const Key key = dirent(1 + random() % 3, random() % keys);
        if (random() % 10 < (growing ? 8 : 2)) {
          const std::size_t size = random() % 20 == 0 ? random() % (kMaxValueBytes + 1) : random() % 120;
          const std::string value(size, static_cast<char>('a' + random() % 26));
          script.put(key, value);
          model[key] = value;
        } else {
          auto found = model.lower_bound(key);
          if (found == model.end()) continue;
          script.erase(found->first);
          model.erase(found);
        }
      }
      const Status status = world.apply(script);
      ASSERT_TRUE(status) << status.error().message() << " at step " << step;
      states.maybe(world, random, 60);
      if (step % 500 == 0) {
        ASSERT_EQ(world.contents(), model) << step;
        world.check(0);
      }
      if (::testing::Test::HasFailure()) return;
    }
    ASSERT_EQ(world.contents(), model);
    world.check(0);
  }
}

}  // namespace
}  // namespace weft::fs
