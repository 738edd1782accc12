#include "fs/check/checked_volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "fs/btree_node.h"
#include "fs/check/claims.h"
#include "fs/check/name_check.h"
#include "fs/check/space_check.h"
#include "fs/check/superblock_check.h"
#include "fs/checkpoint.h"
#include "fs/format_check.h"
#include "fs/journal.h"
#include "fs/superblock.h"
#include "kernel/metrics.h"

namespace weft::fs::check {
namespace {

constexpr std::uint64_t kCacheBytes = 64 << 20;
// After a loss the log may hold records, and the volume nodes, of lives that the superblock does not know of: far beyond those.
constexpr std::uint64_t kPastLostLives = 1024;
constexpr std::uint64_t kNodesBetweenReports = 256;
// What a rebuild should have free besides the leaves, for the log's changes.
constexpr std::uint64_t kRebuildSpareBlocks = 64;

}  // namespace

// Claims the blocks of what passes and hands items on.
class CheckedVolume::Walk final : public BTree::Visitor {
 public:
  Walk(CheckedVolume& volume, SpaceMap& space, ItemCheck* items, const Progress& progress)
      : volume_(volume), space_(space), items_(items), progress_(progress) {}

  bool on_node(BlockNo block, std::uint8_t) override {
    space_.claim({block, 1}, volume_.claimed_twice_);
    if (volume_.nodes_++ % kNodesBetweenReports != 0 || !progress_) return true;
    // By inodes passed: how many nodes there are nobody knows.
    const std::uint64_t total = volume_.superblock_.inode_count;
    return progress_("tree", std::min<std::uint64_t>(items_ != nullptr ? volume_.facts_.records : 0, total), total);
  }
  void on_item(Key key, std::span<const std::byte> value) override {
    if (key.kind() == KeyKind::kExtent) {
      DiskExtent extent;
      std::memcpy(&extent, value.data(), sizeof(extent));
      space_.claim({BlockNo(extent.block.get()), extent.length}, volume_.claimed_twice_);
    }
    if (items_ != nullptr) items_->item(key, value);
  }
  void on_lost(const BTree::LostNode& node, const Error& why) override {
    volume_.lost_.push_back(node);
    const std::uint64_t last = node.high.object - (node.high.tag == 0 ? 1 : 0);
    volume_.findings_.add(Problem::kTreeNode, node.block,
                          fmt::format("{}; what it held of inodes {} to {} is lost", why.message(), node.low.object,
                                      last == ~std::uint64_t{0} ? std::string("the last") : std::to_string(last)));
  }

 private:
  CheckedVolume& volume_;
  SpaceMap& space_;
  ItemCheck* items_;
  const Progress& progress_;
};

CheckedVolume::CheckedVolume(BlockDevice& device, Clock& clock, const DiskSuperblock& superblock)
    : device_(device), clock_(clock), superblock_(superblock), layout_(superblock), space_(layout_) {}
CheckedVolume::~CheckedVolume() = default;

Result<std::unique_ptr<CheckedVolume>> CheckedVolume::open(BlockDevice& device, Clock& clock) {
  const FoundSuperblock found = TRY(find_superblock(device));
  std::unique_ptr<CheckedVolume> volume(new CheckedVolume(device, clock, found.superblock));
  volume->inode_count_ = found.superblock.inode_count;
  volume->next_inode_ = found.superblock.next_inode;
  const bool was_mounted = (found.superblock.state & kStateMounted) != 0;
  volume->plan_ = TRY(read_log(device, found.superblock, volume->layout_, was_mounted || found.slot_unreadable));
  return volume;
}

bool CheckedVolume::has_unknown_features() const noexcept {
  return (superblock_.features_ro_compat & ~kFeaturesRoCompatKnown) != 0 || superblock_.features_compat != 0;
}

std::uint64_t CheckedVolume::used_blocks() const { return layout_.block_count - space_.free_blocks(); }

// ----------------------------------------------------------------------------------------------------- looking

Status CheckedVolume::examine(const Progress& progress) {
  TRY(check_superblocks(device_, superblock_, findings_, notes_));
  check_log();
  groups_ = TRY(GroupTable::load_damaged(device_, superblock_, bad_tables_));
  for (const GroupTable::Damage& damage : bad_tables_) {
    findings_.add(Problem::kGroupTable, damage.where, damage.why.message());
    const std::uint64_t first = damage.index * kGroupsPerTableBlock;
    for (std::uint64_t group = first; group < layout_.group_count && group < first + kGroupsPerTableBlock; ++group) {
      wrong_groups_.push_back(static_cast<std::uint32_t>(group));
    }
  }
  if (bad_tables_.empty() && groups_->free_blocks() != superblock_.free_blocks) {
    findings_.add(Problem::kFreeCount, BlockNo{},
                  fmt::format("the superblock says {} free blocks, the group table {}", superblock_.free_blocks.get(),
                              groups_->free_blocks()));
    changed_ = true;
  }

  TRY(walk_checkpoint(progress));
  std::vector<std::uint32_t> wrong;
  Findings of_space;  // where the table is bad its groups' bitmaps say nothing
  Findings& where = bad_tables_.empty() ? findings_ : of_space;
  TRY(check_space(*groups_, layout_, space_, lost_.empty(), where, wrong,
                  [&](std::uint32_t group) { return !progress || progress("space", group, layout_.group_count); }));
  wrong_groups_.insert(wrong_groups_.end(), wrong.begin(), wrong.end());
  std::ranges::sort(wrong_groups_);
  wrong_groups_.erase(std::ranges::unique(wrong_groups_).begin(), wrong_groups_.end());

  make_tree(allocator_, tree_, true);
  if (lost_.empty() && !plan_.records.empty()) {
    if (auto status = replay(); !status) {
      if (status.error().code() != Errc::kCorrupt) return status;
      replay_failed_ = true;
      findings_.add(Problem::kLog, BlockNo{}, "the log cannot be replayed: " + status.error().message());
    } else {
      TRY(walk_replayed(progress));
    }
  }
  if (!claimed_twice_.empty()) TRY(check_claims(*tree_, device_, claimed_twice_, findings_));
  if (!is_readable()) return {};
  check_names(facts_, findings_);
  check_counts();
  return {};
}

void CheckedVolume::check_log() {
  if (!plan_.damage) return;
  findings_.add(Problem::kLog, layout_.log_start, plan_.damage->message());
  changed_ = true;
}

void CheckedVolume::make_tree(std::unique_ptr<Allocator>& allocator, std::unique_ptr<BTree>& tree, bool with_space) {
  AllocatorConfig space;
  space.block_count = layout_.block_count;
  space.first_block = layout_.data_start();
  space.end_block = layout_.data_end();
  space.free_counts = with_space ? space_.free_counts() : std::vector<std::uint32_t>(layout_.group_count);
  tree.reset();
  allocator = std::make_unique<Allocator>(std::move(space), space_);
  BTreeConfig config;
  config.uuid = superblock_.uuid;
  config.root.block = BlockNo(superblock_.root.block.get());
  config.root.birth = CheckpointNo(superblock_.root.birth.get());
  config.root.level = static_cast<std::uint8_t>(superblock_.root_level.get());
  config.checkpoint = CheckpointNo(superblock_.checkpoint + 1);
  config.cache_bytes = kCacheBytes;
  tree = std::make_unique<BTree>(device_, *allocator, config);
}

Status CheckedVolume::walk_checkpoint(const Progress& progress) {
  std::unique_ptr<Allocator> allocator;
  std::unique_ptr<BTree> tree;
  make_tree(allocator, tree, false);
  const bool is_final = plan_.records.empty();
  ItemCheck items(superblock_.hash_seed, findings_, facts_);
  Walk walk(*this, space_, is_final ? &items : nullptr, progress);
  TRY(tree->walk(walk));
  if (is_final) items.finish();
  return {};
}

Result<Reservation> CheckedVolume::reserve(bool grows) {
  auto reservation = allocator_->reserve(0, tree_->node_bound(1), true);
  if (reservation || !(reservation.error() == Errc::kNoSpace)) return reservation;
  // The bound is generous: one path is copied at most; if the edit adds to the leaf each node of it is split, and a root put on top.
  const std::uint64_t left = allocator_->space().allocatable_blocks;
  const std::uint64_t path = tree_->root().level + std::uint64_t{1};
  if (left < (grows ? 2 * path + 1 : path)) {
    return fail(Errc::kNoSpace, "the volume is too full to be repaired; nothing was changed in this round");
  }
  return allocator_->reserve(0, left, true);
}

Status CheckedVolume::replay() {
  changed_ = true;
  return replay_log(
      device_, superblock_, layout_, plan_, [&](BlockRange blocks) { return allocator_->hold_for_replay(blocks); },
      [&](std::span<const std::byte> transaction) -> Status {
        DiskTransaction header;
        std::memcpy(&header, transaction.data(), sizeof(header));
        auto reservation = allocator_->reserve(0, tree_->node_bound(header.changes), true);
        if (!reservation && reservation.error() == Errc::kNoSpace) {
          // As Volume::open(): the bound is generous, and what was enough then is enough now.
          reservation = allocator_->reserve(0, allocator_->space().allocatable_blocks, true);
        }
        if (!reservation) return fail(std::move(reservation).error());
        ApplyEffects effects;
        TRY(tree_->apply(transaction, effects, [] {}));
        inode_count_ += static_cast<std::uint64_t>(effects.inodes);
        next_inode_ = std::max(next_inode_, effects.highest_inode + 1);
        if (effects.damage) findings_.add(Problem::kLog, BlockNo{}, "while the log was replayed: " + *effects.damage);
        return {};
      });
}

Status CheckedVolume::walk_replayed(const Progress& progress) {
  SpaceMap claimed(layout_);
  nodes_ = 0;
  claimed_twice_.clear();
  ItemCheck items(superblock_.hash_seed, findings_, facts_);
  Walk walk(*this, claimed, &items, progress);
  TRY(tree_->walk(walk));
  items.finish();
  if (!lost_.empty()) return {};
  TRY(check_allocator(*allocator_, layout_, claimed, findings_));
  return {};
}

void CheckedVolume::check_counts() {
  if (inode_count_ != facts_.records) {
    findings_.add(Problem::kInodeCount, BlockNo{},
                  fmt::format("the superblock says {} inodes, there are {}", inode_count_, facts_.records));
    inode_count_ = facts_.records;
    changed_ = true;
  }
  if (next_inode_ <= facts_.highest_inode) {
    findings_.add(Problem::kNextInode, BlockNo{},
                  fmt::format("the superblock says that inode {} is the next to be made, but {} exists", next_inode_,
                              facts_.highest_inode));
    next_inode_ = facts_.highest_inode + 1;
    changed_ = true;
  }
}

// -------------------------------------------------------------------------------------------------- rebuilding

// Each item of the ranges. A leaf that cannot be read again is passed over.
Status CheckedVolume::for_each_salvaged(std::span<const SalvagedRange> leaves,
                                        FunctionRef<Status(Key, std::span<const std::byte>)> visit) {
  const PageRef buffer = PageRef::make_zeroed();
  for (const SalvagedRange& leaf : leaves) {
    if (!device_.read(leaf.block.value() * kBlockBytes, buffer.bytes()) ||
        !is_leaf_of(buffer.bytes(), leaf.block, superblock_.uuid, layout_)) {
      continue;
    }
    const NodePage page(buffer.data());
    for (std::uint32_t i = page.lower_bound(leaf.from); i < page.count() && page.leaf_key(i) < leaf.to; ++i) {
      TRY(visit(page.leaf_key(i), page.value(i)));
    }
  }
  return {};
}

// Until the new tree is durable these leaves are all there is of what they hold, and nobody claims their blocks: a new node placed on
// one of them and a power cut would lose it for good. Where the volume is too full to wait, a repair that must not be cut off is
// better than none.
std::vector<BlockNo> CheckedVolume::hold_leaves(std::span<const SalvagedRange> leaves) {
  std::vector<BlockNo> held;
  // In order, keys fill leaves; of nodes above them there are far fewer than one to eight.
  const std::uint64_t wanted = 2 * leaves.size() + leaves.size() / 8 + kRebuildSpareBlocks;
  if (space_.free_blocks() < wanted) return held;
  std::vector<BlockRange> twice;
  for (const SalvagedRange& leaf : leaves) {
    if (space_.is_claimed(leaf.block)) continue;  // by a file, or a range before
    space_.claim({leaf.block, 1}, twice);
    held.push_back(leaf.block);
  }
  return held;
}

Status CheckedVolume::rebuild(const Progress& progress) {
  // A loss of newer superblocks leaves nodes behind that are of checkpoints this one does not know.
  const CheckpointNo newest(superblock_.checkpoint + (plan_.damage ? kPastLostLives - 1 : 0));
  const auto leaves =
      TRY(find_leaves(device_, superblock_.uuid, layout_, space_, newest, lost_, [&](std::uint64_t block) {
        return block % 1024 != 0 || !progress || progress("lost nodes", block, layout_.block_count);
      }));
  // Their files' blocks are in use before the first new node is placed.
  std::vector<BlockRange> twice;  // the next round's
  TRY(for_each_salvaged(leaves, [&](Key key, std::span<const std::byte> value) -> Status {
    if (key.kind() != KeyKind::kExtent) return {};
    DiskExtent extent;
    std::memcpy(&extent, value.data(), sizeof(extent));
    space_.claim({BlockNo(extent.block.get()), extent.length}, twice);
    return {};
  }));
  const std::vector<BlockNo> held = hold_leaves(leaves);
  if (plan_.damage) {
    // Beyond all lives that were lost; a checkpoint's number tells the slot of its superblock.
    superblock_.checkpoint = superblock_.checkpoint + kPastLostLives;
  }
  make_tree(allocator_, tree_, true);
  for (const BlockNo block : held) allocator_->free({block, 1});  // once the new tree is durable
  for (const BTree::LostNode& lost : lost_) {
    const Reservation reservation = TRY(reserve(true));
    TRY(tree_->replace_lost(lost));
  }
  TRY(for_each_salvaged(leaves, [&](Key key, std::span<const std::byte> value) -> Status {
    const Reservation reservation = TRY(reserve(true));
    return tree_->put_raw(key, value);
  }));
  lost_.clear();
  changed_ = true;
  if (!plan_.records.empty()) {
    // What does not fit the older state is left out with all that came after it.
    if (auto status = replay(); !status) {
      if (status.error().code() != Errc::kCorrupt) return status;
      findings_.add(Problem::kLog, BlockNo{}, "the log cannot be replayed to its end: " + status.error().message());
    }
  }
  Findings ignored;
  std::vector<std::uint32_t> wrong;
  TRY(check_space(*groups_, layout_, space_, true, ignored, wrong, [](std::uint32_t) { return true; }));
  wrong_groups_.insert(wrong_groups_.end(), wrong.begin(), wrong.end());
  std::ranges::sort(wrong_groups_);
  wrong_groups_.erase(std::ranges::unique(wrong_groups_).begin(), wrong_groups_.end());
  return {};
}

// ---------------------------------------------------------------------------------------------------- changing

Status CheckedVolume::put(Key key, std::span<const std::byte> value) {
  std::size_t old_size = 0;
  const bool is_new = !TRY(tree_->get(key, [&](std::span<const std::byte> old) { old_size = old.size(); }));
  const Reservation reservation = TRY(reserve(is_new || value.size() > old_size));
  changed_ = true;
  TRY(tree_->put_raw(key, value));
  inode_count_ += is_new && key.kind() == KeyKind::kInode;
  return {};
}

Status CheckedVolume::erase(Key key) {
  const Reservation reservation = TRY(reserve(false));
  changed_ = true;
  if (TRY(tree_->erase_raw(key)) && key.kind() == KeyKind::kInode) --inode_count_;
  return {};
}

Result<std::optional<std::vector<std::byte>>> CheckedVolume::get(Key key) {
  std::optional<std::vector<std::byte>> found;
  TRY(tree_->get(key, [&](std::span<const std::byte> value) { found.emplace(value.begin(), value.end()); }));
  return found;
}

Status CheckedVolume::scan(Key from, Key to, FunctionRef<bool(Key, std::span<const std::byte>)> visit) {
  return tree_->scan(from, to, visit);
}

DiskTime CheckedVolume::now() const { return disk_time(clock_.wall()); }
std::uint64_t CheckedVolume::new_inode() { return next_inode_++; }

Status CheckedVolume::write(bool sound) {
  for (const std::uint32_t group : wrong_groups_) TRY(allocator_->rewrite(group));
  VolumeCounters counters;
  counters.inode_count = inode_count_;
  counters.next_inode = next_inode_;
  counters.state = (superblock_.state & ~std::uint32_t{kStateMounted}) | kStateErrors;
  counters.error_count = superblock_.error_count.get();
  DiskSuperblock next = superblock_;
  if (sound) {
    counters.state = 0;
    counters.error_count = 0;
    next.checked = disk_time(clock_.wall());
    next.mount_count = 0;
  }
  JournalConfig config;
  config.uuid = superblock_.uuid;
  config.log_offset_bytes = layout_.log_offset_bytes();
  config.log_bytes = layout_.log_bytes();
  config.epoch = superblock_.log_epoch + (plan_.damage ? kPastLostLives : 1);
  config.next_sequence = plan_.next_sequence;
  config.next_lsn = plan_.next_lsn;
  Journal journal(device_, config);
  Checkpointer checkpointer(device_, next, *tree_, *allocator_, *groups_, journal, counters, default_metrics());
  TRY(checkpointer.run());
  // The other two copies of the superblock.
  TRY(checkpointer.run());
  return journal.flush_device();
}

}  // namespace weft::fs::check
