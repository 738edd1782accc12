// Trees that somebody forged, checksums and all, and trees that many use at once.
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "fs/btree_node.h"
#include "tests/fs/tree_world.h"

namespace weft::fs {
namespace {

using testing::Script;
using testing::TreeWorld;

Key dirent(std::uint64_t object, std::uint64_t offset) { return {InodeNo(object), KeyKind::kDirent, offset}; }

TEST(DamagedTree, ForgedNodesAreRefusedOrHarmless) {
  TreeWorld world(8192);
  std::mt19937_64 random(99);
  for (std::uint64_t i = 0; i < 900; ++i) {
    Script script;
    script.put(dirent(1 + i % 3, random() % 100000), std::string(random() % 100, 'x'));
    auto reservation = world.allocator->reserve(2, 0, false);
    const BlockRange blocks = *world.allocator->allocate(*reservation, BlockNo{}, 2);
    script.map(20 + i % 2, i * 3, blocks, 0, std::vector<std::uint32_t>(blocks.count, 1));
    ASSERT_TRUE(world.apply(script));
  }
  world.checkpoint();
  std::vector<BlockNo> nodes;
  ASSERT_TRUE(world.tree->check([&](BlockNo block) { nodes.push_back(block); }));
  const std::vector<std::byte> good = world.disk.bytes;
  int refused = 0;
  for (int round = 0; round < 200; ++round) {
    SCOPED_TRACE("round " + std::to_string(round));
    for (int edits = 1 + static_cast<int>(random() % 3); edits > 0; --edits) {
      const BlockNo block = nodes[random() % 4 == 0 ? 0 : random() % nodes.size()];
      const auto page = world.disk.block(block);
      if (random() % 3 == 0) {  // another node's reference, entry or slot
        const auto other = world.disk.block(nodes[random() % nodes.size()]);
        const std::size_t at = sizeof(DiskNode) + 32 * (random() % 60);
        const std::size_t from = sizeof(DiskNode) + 32 * (random() % 60);
        std::memcpy(page.data() + at, other.data() + from, 32);
      } else {
        page[random() % 2 == 0 ? random() % 200 : random() % kBlockBytes] = static_cast<std::byte>(random());
      }
      PageRef sealed = PageRef::make_uninitialised();
      std::memcpy(sealed.data(), page.data(), kBlockBytes);
      BTree::seal({block, sealed});
      std::memcpy(page.data(), sealed.data(), kBlockBytes);
    }
    world.open();
    const auto note = [&](const auto& result) {
      if (result) return;
      ++refused;
      EXPECT_EQ(result.error().code(), Errc::kCorrupt) << result.error().message();
    };
    note(world.tree->scan(Key::lowest(), Key::highest(), [](Key, auto) { return true; }));
    for (int i = 0; i < 10; ++i) {
      note(world.tree->get(dirent(1 + random() % 3, random() % 100000), [](auto) {}));
      note(world.tree->last(dirent(1, 0), dirent(1 + random() % 3, random() % 100000), [](Key, auto) {}));
      Script script;
      script.put(dirent(1 + random() % 3, random() % 100000), std::string(random() % 1000, 'y'));
      script.unmap(20 + random() % 2, random() % 3000, random() % 8 == 0 ? 5000 : 1 + random() % 50);
      auto reservation = world.allocator->reserve(0, world.tree->node_bound(script.changes), true);
      ASSERT_TRUE(reservation);
      ApplyEffects effects;
      note(world.tree->apply(script.bytes(), effects, [] {}));
    }
    world.disk.bytes = good;
  }
  EXPECT_GT(refused, 200);
}

TEST(BTree, ServesReadersWhileItIsChangedAndCheckpointed) {
  TreeWorld world(16384);
  constexpr std::uint64_t kKeys = 4000;
  for (std::uint64_t i = 0; i < kKeys; ++i) {
    Script script;
    script.put(dirent(1, i * 2), std::string(60, 'a'));
    ASSERT_TRUE(world.apply(script));
  }
  world.checkpoint();
  world.open();
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> reads{0};
  std::vector<std::thread> readers;
  for (std::uint64_t seed = 1; seed <= 3; ++seed) {
    readers.emplace_back([&, seed] {
      std::mt19937_64 random(seed);
      while (!stop) {
        const std::uint64_t at = random() % kKeys;
        const auto found = world.tree->get(dirent(1, at * 2), [&](std::span<const std::byte> value) {
          EXPECT_EQ(value.size(), 60u);
          for (const std::byte byte : value) EXPECT_EQ(byte, value[0]);
        });
        ASSERT_TRUE(found) << found.error().message();
        EXPECT_TRUE(*found);
        if (random() % 50 == 0) {
          std::uint64_t seen = 0;
          const auto status = world.tree->scan(dirent(1, at * 2), dirent(1, at * 2 + 200), [&](Key key, auto) {
            seen += key.offset() % 2 == 0;
            return true;
          });
          ASSERT_TRUE(status);
          EXPECT_EQ(seen, std::min<std::uint64_t>(100, kKeys - at));
        }
        ++reads;
      }
    });
  }
  std::mt19937_64 random(4);
  for (int step = 0; step < 1500; ++step) {
    Script script;
    script.put(dirent(1, random() % kKeys * 2), std::string(60, static_cast<char>('a' + step % 26)));
    script.put(dirent(1, random() % kKeys * 2 + 1), std::string(random() % 200, 'z'));
    ASSERT_TRUE(world.apply(script));
    if (step % 40 == 0) world.freeze();
    if (step % 40 == 20) world.finish();
  }
  stop = true;
  for (std::thread& reader : readers) reader.join();
  EXPECT_GT(reads, 0u);
  world.check(0);
}

}  // namespace
}  // namespace weft::fs
