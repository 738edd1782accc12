// tests/fs/tree_world.h - a tree with its allocator on a disk in memory, checkpointed by hand, and a model to compare with.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "fs/allocator.h"
#include "fs/btree.h"
#include "fs/format_check_node.h"

namespace weft::fs::testing {

class RamDisk final : public BlockDevice {
 public:
  explicit RamDisk(std::uint64_t blocks) : bytes(blocks * kBlockBytes) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return {bytes.size(), 512, true, false}; }
  [[nodiscard]] std::string name() const override { return "memory"; }
  Status run(std::span<const BlockIo> requests) override {
    for (const BlockIo& io : requests) {
      std::uint64_t at = io.offset_bytes;
      if (at + io.length_bytes > bytes.size()) return fail(Errc::kInvalid);
      if (io.op == BlockOp::kRead) ++reads;
      for (const iovec& vector : io.vectors) {
        if (io.op == BlockOp::kRead) std::memcpy(vector.iov_base, bytes.data() + at, vector.iov_len);
        if (io.op == BlockOp::kWrite) std::memcpy(bytes.data() + at, vector.iov_base, vector.iov_len);
        at += vector.iov_len;
      }
    }
    return {};
  }
  [[nodiscard]] std::span<std::byte, kBlockBytes> block(BlockNo number) {
    return std::span<std::byte, kBlockBytes>(bytes.data() + number.value() * kBlockBytes, kBlockBytes);
  }
  std::vector<std::byte> bytes;
  std::atomic<std::uint64_t> reads = 0;
};

// A volume whose first `fixed` blocks and last two are not for use; only group 0 has fixed ones.
class RamBitmaps final : public BitmapSource {
 public:
  RamBitmaps(std::uint64_t blocks, std::uint64_t fixed) : blocks_(blocks), fixed_(fixed) {}
  Status load_bitmap(std::uint32_t group, std::span<std::byte, kBlockBytes> bitmap) override {
    ++loads;
    if (const auto found = saved.find(group); found != saved.end()) {
      std::memcpy(bitmap.data(), found->second.data(), kBlockBytes);
      return {};
    }
    GroupBitmap bits;
    for (std::uint32_t i = 0; i < kBlocksPerGroup; ++i) {
      const std::uint64_t block = std::uint64_t{group} * kBlocksPerGroup + i;
      if (block < fixed_ || block >= blocks_ - 2) bits.set(i, 1);
    }
    bits.store(bitmap);
    return {};
  }
  std::map<std::uint32_t, std::vector<std::byte>> saved;
  std::vector<std::uint32_t> free_counts() {
    std::vector<std::uint32_t> counts;
    for (std::uint32_t group = 0; group < (blocks_ + kBlocksPerGroup - 1) / kBlocksPerGroup; ++group) {
      std::vector<std::byte> bytes(kBlockBytes);
      (void)load_bitmap(group, std::span<std::byte, kBlockBytes>(bytes.data(), kBlockBytes));
      GroupBitmap bits;
      bits.load(std::span<const std::byte, kBlockBytes>(bytes.data(), kBlockBytes));
      counts.push_back(kBlocksPerGroup - bits.count_set());
    }
    return counts;
  }
  int loads = 0;

 private:
  std::uint64_t blocks_;
  std::uint64_t fixed_;
};

// Bytes of a transaction, built without the class that builds them.
class Script {
 public:
  Script() : bytes_(sizeof(DiskTransaction)) {}
  Script& put(Key key, std::span<const std::byte> value) { return add(ChangeKind::kPut, key, value); }
  Script& put(Key key, const std::string& value) { return put(key, std::as_bytes(std::span(value))); }
  Script& erase(Key key) { return add(ChangeKind::kErase, key, {}); }
  Script& map(std::uint64_t inode, std::uint64_t first, BlockRange blocks, std::uint32_t flags,
              const std::vector<std::uint32_t>& sums) {
    DiskExtent extent{};
    extent.block = blocks.start.value();
    extent.length = static_cast<std::uint32_t>(blocks.count);
    extent.flags = flags;
    std::vector<std::byte> value(sizeof(extent) + sums.size() * 4);
    std::memcpy(value.data(), &extent, sizeof(extent));
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const le32 sum = sums[i];
      std::memcpy(value.data() + sizeof(extent) + i * 4, &sum, 4);
    }
    return add(ChangeKind::kMap, Key(InodeNo(inode), KeyKind::kExtent, first), value);
  }
  Script& unmap(std::uint64_t inode, std::uint64_t first, std::uint64_t count) {
    const le64 blocks = count;
    return add(ChangeKind::kUnmap, Key(InodeNo(inode), KeyKind::kExtent, first), as_bytes_of(blocks));
  }
  std::span<const std::byte> bytes() {
    DiskTransaction header{};
    header.changes = changes;
    header.length_bytes = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(bytes_.data(), &header, sizeof(header));
    return bytes_;
  }
  std::uint16_t changes = 0;

 private:
  Script& add(ChangeKind kind, Key key, std::span<const std::byte> value) {
    DiskChange change{};
    change.kind = static_cast<std::uint8_t>(kind);
    change.value_length = static_cast<std::uint16_t>(value.size());
    change.key.object = key.object;
    change.key.tag = key.tag;
    const auto head = as_bytes_of(change);
    bytes_.insert(bytes_.end(), head.begin(), head.end());
    bytes_.insert(bytes_.end(), value.begin(), value.end());
    ++changes;
    return *this;
  }
  std::vector<std::byte> bytes_;
};

class TreeWorld {
 public:
  static constexpr std::uint64_t kFixed = 16;

  explicit TreeWorld(std::uint64_t blocks, std::size_t cache_bytes = 0)
      : disk(blocks), bitmaps(blocks, kFixed), blocks_(blocks), cache_bytes_(cache_bytes) {
    for (std::size_t i = 0; i < 16; ++i) uuid.bytes[i] = static_cast<std::uint8_t>(i + 1);
    root_ = {BlockNo(kFixed), CheckpointNo(1), 0};
    const PageRef page = BTree::make_empty(uuid, root_.block, root_.birth);
    std::memcpy(disk.block(root_.block).data(), page.data(), kBlockBytes);
    std::vector<std::byte> first(kBlockBytes);
    const std::span<std::byte, kBlockBytes> bytes(first.data(), kBlockBytes);
    (void)bitmaps.load_bitmap(0, bytes);
    GroupBitmap bits;
    bits.load(bytes);
    bits.set(kFixed, 1);
    bits.store(bytes);
    bitmaps.saved[0] = first;
    checkpoint_ = CheckpointNo(1);
    open();
  }

  // As after a crash: what the last durable checkpoint has.
  void open() {
    frozen_.reset();
    tree.reset();
    allocator.reset();
    AllocatorConfig config;
    config.block_count = blocks_;
    config.first_block = BlockNo(kFixed);
    config.end_block = BlockNo(blocks_ - 2);
    config.free_counts = bitmaps.free_counts();
    config.max_loaded_groups = 1;
    allocator = std::make_unique<Allocator>(config, bitmaps);
    tree = std::make_unique<BTree>(disk, *allocator, BTreeConfig{uuid, root_, checkpoint_ + 1, cache_bytes_});
  }

  void freeze() {
    ASSERT_FALSE(frozen_);
    ASSERT_TRUE(allocator->prepare_freeze());
    FrozenSpace space;
    auto frozen = tree->freeze([&]() -> Status {
      space = TRY(allocator->freeze());
      return {};
    });
    ASSERT_TRUE(frozen);
    frozen_.emplace(Frozen{std::move(*frozen), std::move(space)});
  }

  // The frozen checkpoint reaches the disk. What it freed is overwritten, to show who still reads it.
  void finish() {
    ASSERT_TRUE(frozen_);
    for (const FrozenNode& node : frozen_->tree.nodes) {
      BTree::seal(node);
      std::memcpy(disk.block(node.block).data(), node.page.data(), kBlockBytes);
    }
    for (const FrozenGroup& group : frozen_->space.groups) {
      bitmaps.saved[group.group].assign(group.bitmap.data(), group.bitmap.data() + kBlockBytes);
    }
    root_ = frozen_->tree.root;
    checkpoint_ = frozen_->tree.checkpoint;
    nodes_written += frozen_->tree.nodes.size();
    tree->written(frozen_->tree);
    for (const BlockRange& range : allocator->thaw(std::move(frozen_->space))) {
      for (std::uint64_t i = 0; i < range.count; ++i)
        std::memset(disk.block(range.start + i).data(), 0xdb, kBlockBytes);
    }
    frozen_.reset();
  }
  [[nodiscard]] bool in_flight() const { return frozen_.has_value(); }
  void checkpoint() {
    if (in_flight()) finish();
    freeze();
    finish();
  }

  Status apply(Script& script, ApplyEffects& effects, std::uint64_t held_data = 0) {
    const std::uint64_t bound = tree->node_bound(script.changes);
    auto reservation = allocator->reserve(0, bound, true);
    if (!reservation) {
      checkpoint();
      reservation = allocator->reserve(0, bound, true);
    }
    if (!reservation) return std::unexpected(reservation.error());
    (void)held_data;
    const std::uint64_t before = allocator->space().allocatable_blocks;
    TRY(tree->apply(script.bytes(), effects, [] {}));
    const std::uint64_t after = allocator->space().allocatable_blocks;
    EXPECT_LE(before, after + bound);
    EXPECT_FALSE(effects.damage) << *effects.damage;
    return {};
  }
  Status apply(Script& script) {
    ApplyEffects effects;
    return apply(script, effects);
  }

  // Structure is sound, and used are exactly the nodes and `mapped` blocks.
  BTree::Totals check(std::uint64_t mapped) {
    std::set<std::uint64_t> nodes;
    auto totals = tree->check([&](BlockNo block) { EXPECT_TRUE(nodes.insert(block.value()).second); });
    EXPECT_TRUE(totals) << totals.error().message();
    if (!totals) return {};
    for (const std::uint64_t block : nodes) EXPECT_TRUE(*allocator->is_used(BlockNo(block)));
    const AllocatorSpace space = allocator->space();
    EXPECT_EQ(space.total_blocks - space.free_blocks, nodes.size() + mapped);
    return *totals;
  }

  std::map<Key, std::string> contents() {
    std::map<Key, std::string> all;
    const Status status = tree->scan(Key::lowest(), Key::highest(), [&](Key key, std::span<const std::byte> value) {
      EXPECT_TRUE(all.emplace(key, std::string(reinterpret_cast<const char*>(value.data()), value.size())).second);
      return true;
    });
    EXPECT_TRUE(status) << status.error().message();
    return all;
  }

  DiskUuid uuid{};
  RamDisk disk;
  RamBitmaps bitmaps;
  std::unique_ptr<Allocator> allocator;
  std::unique_ptr<BTree> tree;
  std::uint64_t nodes_written = 0;

 private:
  struct Frozen {
    FrozenTree tree;
    FrozenSpace space;
  };
  std::uint64_t blocks_;
  std::size_t cache_bytes_;
  TreeRoot root_;
  CheckpointNo checkpoint_;
  std::optional<Frozen> frozen_;
};

// A model of what a world's tree holds, put back with it at a crash. Call `maybe` after each step of a random walk.
template <typename Model>
struct CrashingModel {
  Model now;
  Model frozen;
  Model durable;

  // A checkpoint begins or ends, or the power goes off: each about once in `period` calls, the last an eighth as often.
  void maybe(TreeWorld& world, std::mt19937_64& random, std::uint64_t period) {
    switch (random() % period) {
      case 0:
        if (world.in_flight()) break;
        world.freeze();
        frozen = now;
        break;
      case 1:
        if (!world.in_flight()) break;
        world.finish();
        durable = frozen;
        break;
      case 2:
        if (random() % 8 != 0) break;
        world.open();
        now = durable;
        break;
      default: break;
    }
  }
};

}  // namespace weft::fs::testing
