#include "fs/check/claims.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <span>

#include "fs/aligned_buffer.h"
#include "fs/format.h"
#include "kernel/crc32c.h"

namespace weft::fs::check {
namespace {

struct Claim {
  Key key;
  std::vector<std::byte> value;
  DiskExtent extent;
  std::set<std::uint64_t> lost;  // blocks of the volume that are somebody else's

  [[nodiscard]] bool covers(std::uint64_t block) const noexcept {
    return block >= extent.block && block - extent.block < extent.length;
  }
  // Whether its checksum says that these bytes are its own; false where it has none.
  [[nodiscard]] bool proves(std::uint64_t block, std::span<const std::byte> bytes) const noexcept {
    if (extent.flags != 0) return false;
    le32 sum;
    std::memcpy(&sum, value.data() + sizeof(extent) + (block - extent.block) * sizeof(sum), sizeof(sum));
    return sum == crc32c(bytes);
  }
};

class ClaimWalk final : public BTree::Visitor {
 public:
  explicit ClaimWalk(std::vector<BlockRange> twice) : twice_(std::move(twice)) {
    std::ranges::sort(twice_, {}, &BlockRange::start);
  }
  bool on_node(BlockNo block, std::uint8_t) override {
    if (overlaps({block, 1})) nodes_.insert(block.value());
    return true;
  }
  void on_item(Key key, std::span<const std::byte> value) override {
    if (key.kind() != KeyKind::kExtent) return;
    DiskExtent extent;
    std::memcpy(&extent, value.data(), sizeof(extent));
    if (overlaps({BlockNo(extent.block.get()), extent.length})) {
      claims_.push_back({key, {value.begin(), value.end()}, extent, {}});
    }
  }
  void on_lost(const BTree::LostNode&, const Error&) override {}

  [[nodiscard]] bool overlaps(BlockRange range) const {
    auto next = std::ranges::upper_bound(twice_, range.start, {}, &BlockRange::start);
    if (next != twice_.end() && next->start < range.end()) return true;
    return next != twice_.begin() && range.start < std::prev(next)->end();
  }

  std::vector<BlockRange> twice_;
  std::set<std::uint64_t> nodes_;
  std::vector<Claim> claims_;
};

// The extent without what is not its own, as edits.
void cut_out(const Claim& claim, std::vector<Fix>& fixes) {
  fixes.push_back(erase_of(claim.key));
  const std::uint64_t start = claim.extent.block;
  const std::uint32_t length = claim.extent.length;
  for (std::uint32_t from = 0; from < length;) {
    if (claim.lost.contains(start + from)) {
      ++from;
      continue;
    }
    std::uint32_t to = from + 1;
    while (to < length && !claim.lost.contains(start + to)) ++to;
    DiskExtent part = claim.extent;
    part.block = start + from;
    part.length = to - from;
    std::vector<std::byte> bytes(sizeof(part));
    std::memcpy(bytes.data(), &part, sizeof(part));
    if (claim.extent.flags == 0) {
      const auto sums =
          std::span(claim.value).subspan(sizeof(part) + std::size_t{from} * 4, std::size_t{to - from} * 4);
      bytes.insert(bytes.end(), sums.begin(), sums.end());
    }
    fixes.push_back(put_of(Key(claim.key.owner(), KeyKind::kExtent, claim.key.offset() + from), std::move(bytes)));
    from = to;
  }
}

}  // namespace

Status check_claims(BTree& tree, BlockDevice& device, std::vector<BlockRange> twice, Findings& findings) {
  ClaimWalk walk(std::move(twice));
  TRY(tree.walk(walk));
  AlignedBuffer buffer(kBlockBytes);
  std::map<const Claim*, std::string> others;  // whom the first block lost belongs to
  for (const BlockRange& range : walk.twice_) {
    for (std::uint64_t block = range.start.value(); block < range.end().value(); ++block) {
      std::vector<Claim*> claims;
      for (Claim& claim : walk.claims_) {
        if (claim.covers(block)) claims.push_back(&claim);
      }
      const Claim* owner = nullptr;
      std::string name = "the tree";
      if (!walk.nodes_.contains(block)) {
        const bool readable = device.read(block * kBlockBytes, buffer.bytes()).has_value();
        for (const Claim* claim : claims) {
          if (owner == nullptr && readable && claim->proves(block, buffer.bytes())) owner = claim;
        }
        // Reserved, never written: nothing to lose.
        for (const Claim* claim : claims) {
          if (owner == nullptr && (claim->extent.flags & kExtentUnwritten) == 0) owner = claim;
        }
        if (owner == nullptr && !claims.empty()) owner = claims.front();
        if (owner != nullptr) name = fmt::format("inode {}", owner->key.object);
      }
      for (Claim* claim : claims) {
        if (claim == owner) continue;
        claim->lost.insert(block);
        others.emplace(claim, name);
      }
    }
  }
  for (const Claim& claim : walk.claims_) {
    if (claim.lost.empty()) continue;
    const std::uint64_t first = *claim.lost.begin();
    Finding& finding = findings.add(
        Problem::kClaimedTwice, claim.key.owner(),
        fmt::format("inode {}: {} of its blocks, from block {} of the file on, belong to {}; they become a hole",
                    claim.key.object, claim.lost.size(), claim.key.offset() + (first - claim.extent.block),
                    others.at(&claim)));
    finding.block = BlockNo(first);
    cut_out(claim, finding.fixes);
  }
  return {};
}

}  // namespace weft::fs::check
