// fs/check/checked_volume.h - a volume opened by fsck: as it is, damage and all, with everything found out about it.
//
//   check -> [checked_volume] -> superblock_check, space_check, item_check, name_check
//                             -> btree, allocator, group_table, journal_replay, checkpoint
//
// Volume::open() believes bitmaps and stops at the first damage; here the order is another. examine() walks the tree of the last
// checkpoint first, and so knows which blocks are in use; what it then plays from the log, in memory, and what repair changes,
// is placed by that. Nothing is written before write(), which is one checkpoint: a repair happens whole or not at all. (Not to be promised
// of lost nodes on a volume that is too full for the leaves found beside the new ones: hold_leaves().)
//
// Not thread-safe. Parks on the device. Memory: see item_check.h and space_map.h; besides, a repair's changed nodes.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "fs/allocator.h"
#include "fs/btree.h"
#include "fs/check/finding.h"
#include "fs/check/item_check.h"
#include "fs/check/salvage.h"
#include "fs/check/space_map.h"
#include "fs/format.h"
#include "fs/group_table.h"
#include "fs/journal_replay.h"
#include "fs/layout.h"
#include "kernel/block_device.h"
#include "kernel/clock.h"
#include "kernel/result.h"

namespace weft::fs::check {

// Called now and then with what part of what is done; false asks to end.
using Progress = std::function<bool(const char* what, std::uint64_t done, std::uint64_t total)>;

class CheckedVolume {
 public:
  // kWrongFormat: not a volume, or one with features this program does not know; kCorrupt: no superblock can be believed.
  static Result<std::unique_ptr<CheckedVolume>> open(BlockDevice& device, Clock& clock);
  ~CheckedVolume();
  CheckedVolume(const CheckedVolume&) = delete;
  CheckedVolume& operator=(const CheckedVolume&) = delete;

  // Looks at everything. kCancelled as `progress` says; other errors are the device's.
  Status examine(const Progress& progress);

  [[nodiscard]] Findings& findings() noexcept { return findings_; }
  [[nodiscard]] const DiskSuperblock& superblock() const noexcept { return superblock_; }
  [[nodiscard]] const Layout& layout() const noexcept { return layout_; }
  [[nodiscard]] const LogPlan& log() const noexcept { return plan_; }
  [[nodiscard]] TreeFacts& facts() noexcept { return facts_; }
  [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }
  [[nodiscard]] const std::vector<BTree::LostNode>& lost() const noexcept { return lost_; }
  [[nodiscard]] std::uint64_t nodes() const noexcept { return nodes_; }
  [[nodiscard]] std::uint64_t used_blocks() const;
  [[nodiscard]] bool has_unknown_features() const noexcept;
  // The log does not fit the tree from some transaction on: what came before it is there.
  [[nodiscard]] bool replay_failed() const noexcept { return replay_failed_; }
  // Names and keys could be looked at: the tree is whole.
  [[nodiscard]] bool is_readable() const noexcept { return lost_.empty() && !replay_failed_; }

  // -- Changing, in memory, after examine()
  Status put(Key key, std::span<const std::byte> value);
  Status erase(Key key);  // that is not there: no error
  Result<std::optional<std::vector<std::byte>>> get(Key key);
  Status scan(Key from, Key to, FunctionRef<bool(Key, std::span<const std::byte>)> visit);
  Status walk(BTree::Visitor& visitor) { return tree_->walk(visitor); }
  std::uint64_t new_inode();
  [[nodiscard]] DiskTime now() const;
  // Where nodes of the tree are lost: puts what can be found of their keys in their place, and plays the log on that. The next
  // round sees how far it fits.
  Status rebuild(const Progress& progress);
  // All of it to the device, as one checkpoint; twice, so that all copies of the superblock are new. `sound`: nothing
  // is wrong any more, which the superblock then says.
  Status write(bool sound);
  // Whether write() has anything to write besides `sound`.
  [[nodiscard]] bool changed() const noexcept { return changed_; }

 private:
  class Walk;
  CheckedVolume(BlockDevice& device, Clock& clock, const DiskSuperblock& superblock);
  void check_log();
  Status walk_checkpoint(const Progress& progress);
  Status replay();
  Status walk_replayed(const Progress& progress);
  void check_counts();
  void make_tree(std::unique_ptr<Allocator>& allocator, std::unique_ptr<BTree>& tree, bool with_space);
  // Nodes for one edit. kNoSpace where there may be too few.
  Result<Reservation> reserve(bool grows);
  std::vector<BlockNo> hold_leaves(std::span<const SalvagedRange> leaves);
  Status for_each_salvaged(std::span<const SalvagedRange> leaves,
                           FunctionRef<Status(Key, std::span<const std::byte>)> visit);

  BlockDevice& device_;
  Clock& clock_;
  DiskSuperblock superblock_;
  const Layout layout_;
  LogPlan plan_;
  Findings findings_;
  std::vector<std::string> notes_;
  std::unique_ptr<GroupTable> groups_;
  std::vector<GroupTable::Damage> bad_tables_;
  std::vector<std::uint32_t> wrong_groups_;
  SpaceMap space_;  // of the checkpoint
  std::vector<BlockRange> claimed_twice_;
  std::vector<BTree::LostNode> lost_;
  TreeFacts facts_;
  std::uint64_t nodes_ = 0;
  std::uint64_t inode_count_ = 0;  // as superblock and log have it
  std::uint64_t next_inode_ = 0;
  bool replay_failed_ = false;
  bool changed_ = false;
  std::unique_ptr<Allocator> allocator_;
  std::unique_ptr<BTree> tree_;
};

}  // namespace weft::fs::check
