#include "tests/fs/volume_workload.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "fs/aligned_buffer.h"
#include "fs/allocator.h"
#include "fs/btree.h"
#include "fs/format_check.h"
#include "fs/group_table.h"
#include "fs/layout.h"
#include "fs/superblock.h"
#include "kernel/crc32c.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs::test {
namespace {

constexpr unsigned kKeys = 40;
constexpr unsigned kFiles = 4;
constexpr unsigned kFileBlocks = 24;
constexpr InodeNo kFiller{2000};

std::string key_text(Key key) {
  return fmt::format("{}.{}.{}", key.object, static_cast<unsigned>(key.kind()), key.offset());
}
std::string block_text(InodeNo owner, std::uint64_t file_block) {
  return fmt::format("{}#{:04}", owner.value(), file_block);
}
std::string value_text(std::span<const std::byte> value) {
  return fmt::format("{} bytes, crc {:08x}", value.size(), crc32c(value));
}
InodeNo file(std::uint64_t number) { return InodeNo(1000 + number); }

}  // namespace

bool Workload::commit(Transaction&& transaction) {
  const auto lsn = volume_->commit(std::move(transaction));
  if (!lsn) {
    EXPECT_TRUE(volume_->failure()) << lsn.error().message();
    return false;
  }
  if (!keep_history_) {
    model_ = std::move(next_);
    return true;
  }
  model_ = next_;
  history_[lsn->value()] = model_;
  return true;
}

// Data first, then the change that maps it, as a file does.
bool Workload::map_fresh(Transaction& transaction, InodeNo owner, std::uint64_t first, std::uint64_t want) {
  const auto blocks = transaction.allocate(BlockNo{}, want);
  if (!blocks) {
    ADD_FAILURE() << blocks.error().message();
    return false;
  }
  AlignedBuffer data(blocks->count * kBlockBytes);
  random_.fill(data.bytes());
  std::vector<std::uint32_t> checksums;
  for (std::uint64_t i = 0; i < blocks->count; ++i) checksums.push_back(crc32c(data.block(i)));
  if (!volume_->device().write(blocks->start.value() * kBlockBytes, data.bytes())) return false;
  transaction.map(owner, FileBlock(first), *blocks, 0, checksums, true);
  for (std::uint64_t i = 0; i < blocks->count; ++i) {
    next_[block_text(owner, first + i)] = fmt::format("{} {:08x}", blocks->start.value() + i, checksums[i]);
  }
  return true;
}

void Workload::fill(std::uint64_t most_blocks) {
  TransactionNeeds needs;
  needs.data_blocks = 16;
  for (std::uint64_t first = 0; first < most_blocks; first += 16) {
    auto begun = volume_->begin(Intent::kWrite, kFiller, needs);
    if (!begun) break;
    Transaction transaction = std::move(*begun);
    next_ = model_;
    ASSERT_TRUE(map_fresh(transaction, kFiller, first, 16));
    ASSERT_TRUE(commit(std::move(transaction)));
  }
}

void Workload::unmap_filler(std::uint64_t first, std::uint64_t count) {
  TransactionNeeds needs;
  needs.frees_space = true;
  Transaction transaction = volume_->begin(Intent::kTruncate, kFiller, needs).value();
  next_ = model_;
  transaction.unmap(kFiller, FileBlock(first), count);
  for (std::uint64_t i = 0; i < count; ++i) next_.erase(block_text(kFiller, first + i));
  ASSERT_TRUE(commit(std::move(transaction)));
}

bool Workload::step() {
  next_ = model_;
  TransactionNeeds needs;
  needs.changes = 16;
  needs.value_bytes = 8192;
  needs.data_blocks = 8;
  auto begun = volume_->begin(Intent::kOther, InodeNo(1), needs);
  if (!begun) {
    EXPECT_TRUE(begun.error() == Errc::kNoSpace || volume_->failure()) << begun.error().message();
    return false;
  }
  Transaction transaction = std::move(*begun);
  for (std::uint64_t n = random_.between(1, 4); n != 0; --n) {
    const std::uint64_t what = random_.below(10);
    if (what < 5) {
      const Key key = test_key(random_.below(kKeys));
      std::vector<std::byte> value(random_.between(0, 900));
      random_.fill(value);
      transaction.put(key, value);
      next_[key_text(key)] = value_text(value);
    } else if (what < 7) {
      const Key key = test_key(random_.below(kKeys));
      if (next_.erase(key_text(key)) != 0) transaction.erase(key);
    } else if (what < 8) {
      const InodeNo owner = file(random_.below(kFiles));
      const std::uint64_t first = random_.below(kFileBlocks);
      const std::uint64_t count = random_.between(1, 8);
      transaction.unmap(owner, FileBlock(first), count);
      for (std::uint64_t i = 0; i < count; ++i) next_.erase(block_text(owner, first + i));
    } else if (n == 1) {
      const InodeNo owner = file(random_.below(kFiles));
      const std::uint64_t first = random_.below(kFileBlocks);
      if (!map_fresh(transaction, owner, first, random_.between(1, 8))) return false;
    }
  }
  return commit(std::move(transaction));
}

bool Workload::put_many(unsigned count, std::size_t value_bytes) {
  TransactionNeeds needs;
  needs.changes = count;
  needs.value_bytes = static_cast<std::uint32_t>(count * value_bytes);
  auto begun = volume_->begin(Intent::kOther, InodeNo(1), needs);
  if (!begun) {
    EXPECT_TRUE(begun.error() == Errc::kNoSpace || volume_->failure()) << begun.error().message();
    return false;
  }
  Transaction transaction = std::move(*begun);
  next_ = keep_history_ ? model_ : std::move(model_);
  for (unsigned i = 0; i < count; ++i) {
    const Key key = test_key(kKeys + random_.below(1u << 20));
    std::vector<std::byte> value(value_bytes);
    random_.fill(value);
    transaction.put(key, value);
    next_[key_text(key)] = value_text(value);
  }
  return commit(std::move(transaction));
}

void Workload::clear() {
  while (!model_.empty()) {
    TransactionNeeds needs;
    needs.changes = 8;
    needs.frees_space = true;
    auto begun = volume_->begin(Intent::kOther, InodeNo(1), needs);
    ASSERT_TRUE(begun) << begun.error().message();
    Transaction transaction = std::move(*begun);
    next_ = keep_history_ ? model_ : std::move(model_);
    for (unsigned n = 0; n < 8 && !next_.empty(); ++n) {
      const std::string key = next_.begin()->first;
      unsigned long long object = 0;
      unsigned long long rest = 0;
      if (std::sscanf(key.c_str(), "%llu#%llu", &object, &rest) == 2) {
        transaction.unmap(InodeNo(object), FileBlock(0), kMaxFileBytes / kBlockBytes);
        std::erase_if(next_, [&](const auto& one) { return one.first.starts_with(std::to_string(object) + "#"); });
      } else {
        std::sscanf(key.c_str(), "%llu", &object);
        transaction.erase(Key(InodeNo(object), KeyKind::kXattr, 7));
        next_.erase(key);
      }
    }
    ASSERT_TRUE(commit(std::move(transaction)));
  }
}

std::uint64_t Workload::sync() {
  const Lsn lsn = volume_->committed();
  const auto status = volume_->make_durable(lsn);
  EXPECT_TRUE(status || volume_->failure());
  return status ? lsn.value() : 0;
}

Model dump(Volume& volume) {
  Model model;
  const auto status = volume.scan(Key::lowest(), Key::highest(), [&](Key key, std::span<const std::byte> value) {
    if (key == Key(kRootInode, KeyKind::kInode, 0)) return true;
    if (key.kind() == KeyKind::kExtent) {
      const MapView map = map_view({ChangeKind::kMap, 0, key, value});
      for (std::uint64_t i = 0; i < map.blocks.count; ++i) {
        model[block_text(key.owner(), key.offset() + i)] =
            fmt::format("{} {:08x}", map.blocks.start.value() + i, map.checksum(i));
      }
    } else {
      model[key_text(key)] = value_text(value);
    }
    return true;
  });
  EXPECT_TRUE(status) << status.error().message();
  return model;
}

std::string difference(const Model& expected, const Model& found) {
  for (const auto& [key, value] : expected) {
    const auto at = found.find(key);
    if (at == found.end()) return fmt::format("{} is missing", key);
    if (at->second != value) return fmt::format("{} is {} instead of {}", key, at->second, value);
  }
  for (const auto& [key, value] : found) {
    if (!expected.contains(key)) return fmt::format("{} = {} should not be", key, value);
  }
  return {};
}

std::string check_image(BlockDevice& device) {
  const auto found = find_superblock(device);
  if (!found) return found.error().message();
  const DiskSuperblock& superblock = found->superblock;
  const Layout layout(superblock);
  if ((superblock.state & kStateMounted) != 0) return "not cleanly closed";
  auto groups = GroupTable::load(device, superblock);
  if (!groups) return groups.error().message();
  AllocatorConfig allocator_config;
  allocator_config.block_count = layout.block_count;
  allocator_config.first_block = layout.data_start();
  allocator_config.end_block = layout.data_end();
  allocator_config.free_counts = (*groups)->free_counts();
  Allocator allocator(allocator_config, **groups);
  BTreeConfig config;
  config.uuid = superblock.uuid;
  config.root = {BlockNo(superblock.root.block.get()), CheckpointNo(superblock.root.birth.get()),
                 static_cast<std::uint8_t>(superblock.root_level.get())};
  config.checkpoint = CheckpointNo(superblock.checkpoint + 1);
  BTree tree(device, allocator, config);

  std::map<std::uint64_t, std::string> owners;
  std::string wrong;
  const auto own = [&](BlockNo block, const std::string& owner) {
    if (layout.is_fixed(block)) wrong = fmt::format("{} lies in a fixed area, at block {}", owner, block.value());
    const auto [at, fresh] = owners.emplace(block.value(), owner);
    if (!fresh) wrong = fmt::format("block {} belongs to {} and to {}", block.value(), at->second, owner);
  };
  if (const auto totals = tree.check([&](BlockNo block) { own(block, "a node"); }); !totals)
    return totals.error().message();
  AlignedBuffer data(kBlockBytes);
  const auto status = tree.scan(Key::lowest(), Key::highest(), [&](Key key, std::span<const std::byte> value) {
    if (key.kind() != KeyKind::kExtent) return true;
    const MapView map = map_view({ChangeKind::kMap, 0, key, value});
    for (std::uint64_t i = 0; i < map.blocks.count; ++i) {
      own(map.blocks.start + i, key_text(key));
      if (!device.read((map.blocks.start + i).value() * kBlockBytes, data.bytes()) ||
          crc32c(data.bytes()) != map.checksum(i)) {
        wrong = fmt::format("the data of {} at block {} is not what its checksum says", key_text(key),
                            map.blocks.start.value() + i);
      }
    }
    return true;
  });
  if (!status) return status.error().message();
  if (!wrong.empty()) return wrong;

  std::uint64_t used = 0;
  AlignedBuffer bitmap(kBlockBytes);
  for (std::uint32_t group = 0; group < layout.group_count; ++group) {
    if (const auto loaded = (*groups)->load_bitmap(group, bitmap.bytes().first<kBlockBytes>()); !loaded)
      return loaded.error().message();
    for (std::uint32_t bit = 0; bit < layout.blocks_in_group(group); ++bit) {
      const BlockNo block(std::uint64_t{group} * kBlocksPerGroup + bit);
      if (!bit_is_set(bitmap.bytes(), bit) || layout.is_fixed(block)) continue;
      ++used;
      if (!owners.contains(block.value()))
        return fmt::format("block {} is marked used and belongs to nothing", block.value());
    }
  }
  if (used != owners.size())
    return fmt::format("{} blocks belong to something, {} are marked used", owners.size(), used);
  return {};
}

}  // namespace weft::fs::test
