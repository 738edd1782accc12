#include "fs/transaction.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "kernel/check.h"

namespace weft::fs {

Transaction::Transaction(Reservation reservation, Intent intent, InodeNo about, const TransactionNeeds& needs)
    : reservation_(std::move(reservation)), needs_(needs) {
  DiskTransaction header{};
  header.intent = static_cast<std::uint16_t>(intent);
  header.inode = about.value();
  bytes_.reserve(sizeof(header) + needs.changes * sizeof(DiskChange) + needs.value_bytes);
  bytes_.resize(sizeof(header));
  std::memcpy(bytes_.data(), &header, sizeof(header));
}

Transaction::Transaction(Transaction&& other) noexcept = default;

// Never happened: all that it allocated goes back.
Transaction::~Transaction() {
  Allocator* allocator = reservation_.allocator();
  if (allocator == nullptr) return;
  for (const BlockRange& range : unmapped_) allocator->abandon(range);
  for (const BlockRange& range : mapped_) allocator->abandon(range);
}

void Transaction::add_change(ChangeKind kind, std::uint8_t flags, Key key, std::size_t value_bytes) {
  WEFT_CHECK(changes_ < needs_.changes && changes_ < 0xffff && value_bytes <= 0xffff);
  ++changes_;
  DiskChange change{};
  change.kind = static_cast<std::uint8_t>(kind);
  change.flags = flags;
  change.value_length = static_cast<std::uint16_t>(value_bytes);
  change.key.object = key.object;
  change.key.tag = key.tag;
  const auto bytes = as_bytes_of(change);
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void Transaction::put(Key key, std::span<const std::byte> value) {
  WEFT_CHECK(value.size() <= kMaxValueBytes && key.kind() != KeyKind::kExtent);
  add_change(ChangeKind::kPut, 0, key, value.size());
  bytes_.insert(bytes_.end(), value.begin(), value.end());
}

void Transaction::erase(Key key) {
  WEFT_CHECK(key.kind() != KeyKind::kExtent);
  add_change(ChangeKind::kErase, 0, key, 0);
}

void Transaction::unmap(InodeNo owner, FileBlock first, std::uint64_t count) {
  WEFT_CHECK(count != 0 && first.value() <= kMaxKeyOffset && count <= kMaxKeyOffset - first.value());
  const le64 blocks = count;
  add_change(ChangeKind::kUnmap, 0, Key(owner, KeyKind::kExtent, first.value()), sizeof(blocks));
  const auto bytes = as_bytes_of(blocks);
  bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
}

void Transaction::map(InodeNo owner, FileBlock first, BlockRange blocks, std::uint32_t extent_flags,
                      std::span<const std::uint32_t> checksums, bool fresh) {
  const bool plain = extent_flags != 0;
  WEFT_CHECK(checksums.size() == (plain ? 0 : blocks.count) && (extent_flags & ~kExtentFlagsKnown) == 0);
  const std::uint64_t most = plain ? kMaxPlainBlocks : kMaxChecksummedBlocks;
  for (std::uint64_t done = 0; done < blocks.count;) {
    const std::uint64_t count = std::min(blocks.count - done, most);
    DiskExtent extent{};
    extent.block = blocks.start.value() + done;
    extent.length = static_cast<std::uint32_t>(count);
    extent.flags = extent_flags;
    const std::size_t sums = plain ? 0 : static_cast<std::size_t>(count);
    add_change(ChangeKind::kMap, fresh ? kChangeFreshData : 0, Key(owner, KeyKind::kExtent, first.value() + done),
               sizeof(extent) + sums * 4);
    const auto bytes = as_bytes_of(extent);
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    for (std::size_t i = 0; i < sums; ++i) {
      const le32 sum = checksums[done + i];
      const auto sum_bytes = as_bytes_of(sum);
      bytes_.insert(bytes_.end(), sum_bytes.begin(), sum_bytes.end());
    }
    done += count;
  }

  // What was allocated here is spoken for now.
  std::vector<BlockRange> left;
  for (const BlockRange& range : unmapped_) {
    const BlockNo from = std::max(range.start, blocks.start);
    const BlockNo to = std::min(range.end(), blocks.end());
    if (from >= to) {
      left.push_back(range);
      continue;
    }
    if (range.start < from) left.push_back({range.start, from - range.start});
    mapped_.push_back({from, to - from});
    if (to < range.end()) left.push_back({to, range.end() - to});
  }
  unmapped_ = std::move(left);
}

Result<BlockRange> Transaction::allocate(BlockNo goal, std::uint64_t want) {
  WEFT_CHECK(reservation_.allocator() != nullptr && reservation_.data_blocks() != 0);
  const BlockRange range = TRY(reservation_.allocator()->allocate(reservation_, goal, want));
  unmapped_.push_back(range);
  return range;
}

std::span<const std::byte> Transaction::finish() {
  DiskTransaction header;
  std::memcpy(&header, bytes_.data(), sizeof(header));
  header.changes = static_cast<std::uint16_t>(changes_);
  header.length_bytes = static_cast<std::uint32_t>(bytes_.size());
  std::memcpy(bytes_.data(), &header, sizeof(header));
  return bytes_;
}

void Transaction::settle() {
  Allocator* allocator = reservation_.allocator();
  if (allocator == nullptr) return;
  for (const BlockRange& range : unmapped_) allocator->abandon(range);
  unmapped_.clear();
  mapped_.clear();
  reservation_.release();
}

}  // namespace weft::fs
