// fs/allocator.h - which blocks of the volume are free, who is promised some, and when a freed one may be used again.
//
//   transaction, btree -> [allocator] -> bitmaps (BitmapSource, read on first use) ; checkpoint takes freeze()
//
// Two bits a block: `used` is the truth that the next checkpoint writes; `busy` says that it may not be handed out: it
// is used, belongs to a transaction that is still open, or was freed and some durable state may still refer to it (V2).
//
//   allocate: busy                abandon: not busy            commit_used: used
//   free: not used, busy stays, pending       thaw(freeze()): pending of that epoch not busy
//   free_unwritten: neither; for a tree node that no checkpoint has taken
//
// Invariants  A1  used is a subset of busy
//             A2  blocks that are not busy >= all that is reserved (so V3: no commit fails for space)
//             A3  as A2 for metadata, counting only groups whose bitmap is in memory: a commit never reads a bitmap
// Locks       tree lock -> lock_. May park for the device: reserve, allocate, prepare_freeze, freeze, hold_for_replay,
//             visit_free, is_used. What says "does not park" takes lock_ only, behind which somebody may be reading a bitmap.
// Tests       tests/fs/allocator_test.cc
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "fs/allocator_group.h"
#include "fs/lock_ranks.h"
#include "fs/page.h"
#include "fs/types.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"
#include "sched/mutex.h"

namespace weft::fs {

// Where bitmaps come from: the durable side.
class BitmapSource {
 public:
  virtual ~BitmapSource() = default;
  // Fills in the bitmap of `group` as the last durable checkpoint has it, its crc verified; that of an uninitialised group
  // is computed. Bits past the volume's end are set. Parks.
  virtual Status load_bitmap(std::uint32_t group, std::span<std::byte, kBlockBytes> bitmap) = 0;
};

enum class Purpose : std::uint8_t { kData, kMetadata };

struct AllocatorConfig {
  std::uint64_t block_count = 0;           // of the volume
  BlockNo first_block;                     // superblocks, tables, bitmaps and log lie before it ...
  BlockNo end_block;                       // ... and superblocks from here on; only blocks between these are handed out
  std::vector<std::uint32_t> free_counts;  // of each group: DiskGroup::free_blocks
  // Bitmaps kept in memory (8 KiB each), unless more are in use or have just been read.
  std::size_t max_loaded_groups = 4096;
};

class Allocator;

// Blocks promised by Allocator::reserve(). Destroyed, what is left of the promise goes back. Moves, does not copy.
class Reservation {
 public:
  Reservation() noexcept = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation() { release(); }
  void release() noexcept;
  [[nodiscard]] std::uint64_t data_blocks() const noexcept { return data_; }
  [[nodiscard]] std::uint64_t metadata_blocks() const noexcept { return metadata_; }
  [[nodiscard]] Allocator* allocator() const noexcept { return allocator_; }

 private:
  friend class Allocator;
  Allocator* allocator_ = nullptr;
  std::uint64_t data_ = 0;
  std::uint64_t metadata_ = 0;
};

// What a checkpoint has to write of free space, exact as of freeze().
struct FrozenGroup {
  std::uint32_t group = 0;
  std::uint32_t free_blocks = 0;
  PageRef bitmap;
};
struct FrozenSpace {
  std::vector<FrozenGroup> groups;  // changed since the last freeze, ascending
  std::vector<BlockRange> pending;  // freed in the epoch that this ends
  std::uint64_t free_blocks = 0;    // of the volume (DiskSuperblock::free_blocks)
};

struct AllocatorSpace {
  std::uint64_t total_blocks = 0;        // between first_block and end_block
  std::uint64_t free_blocks = 0;         // not used; some may be pending
  std::uint64_t allocatable_blocks = 0;  // not busy
  std::uint64_t pending_blocks = 0;      // freed, waiting for a checkpoint
  std::uint64_t reserved_blocks = 0;
  std::uint64_t held_back_blocks = 0;  // that only a reservation with frees_space may touch
};

class Allocator {
 public:
  Allocator(AllocatorConfig config, BitmapSource& source);
  ~Allocator();
  Allocator(const Allocator&) = delete;
  Allocator& operator=(const Allocator&) = delete;

  // Sets space aside. kNoSpace: not there now; if space().pending_blocks > 0, or checkpoints are in flight, a checkpoint may
  // bring some back.
  Result<Reservation> reserve(std::uint64_t data_blocks, std::uint64_t metadata_blocks, bool frees_space);
  // Up to `want` blocks in one run out of the reservation's data blocks; at least 1 as long as it has any.
  Result<BlockRange> allocate(Reservation& from, BlockNo goal, std::uint64_t want);
  // A block for a tree node, at once used. Comes out of what the caller holds reserved as metadata; does not read, does
  // not fail but by a bug.
  BlockNo allocate_node();
  // Never mapped after all. Does not park.
  void abandon(BlockRange range);
  // These two are told what the log or the tree says, which may be damaged: false if part of the range was not as it should be
  // (already used; not used; outside) - the rest is done. Neither parks.
  bool commit_used(BlockRange range);
  bool free(BlockRange range);
  // Of a node that no checkpoint has taken. Does not park.
  bool free_unwritten(BlockNo block);
  // Before replay: the log will map these. Keeps new tree nodes off them. kCorrupt: outside the volume's data area.
  Status hold_for_replay(BlockRange range);

  // Checkpoint, in this order: prepare_freeze() without locks, freeze() under the exclusive tree lock, and when the
  // checkpoint is durable thaw(), which returns what may now be used again or discarded. A failed freeze() changes nothing.
  Status prepare_freeze();
  Result<FrozenSpace> freeze();
  std::vector<BlockRange> thaw(FrozenSpace&& frozen);

  [[nodiscard]] AllocatorSpace space() const;  // does not park
  // Memory for what waits for a checkpoint: freed ranges; bitmaps that have changed, and their copies. Neither parks.
  [[nodiscard]] std::uint64_t pending_bytes() const noexcept {
    return pending_ranges_.load(std::memory_order_relaxed) * sizeof(BlockRange);
  }
  [[nodiscard]] std::uint64_t changed_bytes() const noexcept {
    return changed_groups_.load(std::memory_order_relaxed) * (sizeof(AllocatorGroup) + kBlockBytes);
  }
  [[nodiscard]] std::size_t loaded_groups() const;  // bitmaps in memory
  // What reserve() keeps for frees_space; set by the volume from the tree's height, see BTree::node_bound().
  void set_held_back(std::uint64_t blocks);
  [[nodiscard]] bool in_data_area(BlockRange range) const noexcept;
  [[nodiscard]] BlockNo first_block() const noexcept { return config_.first_block; }
  [[nodiscard]] BlockNo end_block() const noexcept { return config_.end_block; }
  [[nodiscard]] std::uint32_t group_count() const noexcept { return static_cast<std::uint32_t>(groups_.size()); }

  // For trim: runs that are not busy, at least `min_blocks` long, within `within`; each is kept from being handed out while
  // `visit` has it (and may park). Stops at the first error.
  Status visit_free(BlockRange within, std::uint64_t min_blocks, FunctionRef<Status(BlockRange)> visit);
  // For fsck: the next checkpoint writes this group's bitmap, changed or not. Parks.
  Status rewrite(std::uint32_t group);
  // For fsck: what the next checkpoint would write. Parks.
  Status used_bitmap(std::uint32_t group, GroupBitmap& used);
  // Whether `block` is used, for tests and checks. Parks.
  Result<bool> is_used(BlockNo block);

 private:
  friend class Reservation;
  struct Group {
    std::unique_ptr<AllocatorGroup> maps;  // null: not loaded
    std::uint32_t free = 0;                // not used
    bool changed = false;                  // since the last freeze
  };

  std::uint32_t group_of(BlockNo block) const noexcept {
    return static_cast<std::uint32_t>(block.value() / kBlocksPerGroup);
  }
  struct Zone {
    std::uint32_t begin, metadata_end, end;  // of a group: data area, of which up to metadata_end is for nodes first
  };
  Zone zone_of(std::uint32_t group) const noexcept;
  void mark_changed(std::uint32_t group);
  Status load(std::uint32_t group);
  Status load_more(std::uint64_t allocatable);
  Status load_deferred();
  template <typename F>
  void for_each_part(BlockRange range, F&& part);
  BlockRange take(std::uint32_t group, GroupRun run);
  void drop_clean_groups(std::size_t look_at);
  void add_pending(BlockRange range);

  BitmapSource& source_;
  const AllocatorConfig config_;
  mutable sched::Mutex lock_{kAllocatorLock};
  std::vector<Group> groups_;
  std::vector<std::uint32_t> changed_;  // groups with `changed`
  // Freed in groups that are not in memory (a commit must not read): done when the group is loaded.
  std::unordered_map<std::uint32_t, std::vector<BlockRange>> deferred_;
  std::vector<BlockRange> pending_;       // freed since the last freeze
  std::uint64_t free_ = 0;                // not used
  std::uint64_t allocatable_ = 0;         // not busy
  std::uint64_t pending_blocks_ = 0;      // of pending_ and of frozen ones not yet thawed
  std::uint64_t loaded_allocatable_ = 0;  // not busy, in loaded groups
  std::size_t loaded_groups_ = 0;
  std::uint32_t drop_hand_ = 0;  // where the search for groups to drop goes on
  std::uint64_t reserved_data_ = 0;
  std::uint64_t reserved_metadata_ = 0;
  std::uint64_t held_back_ = 0;
  BlockNo data_cursor_;
  BlockNo metadata_cursor_;
  // Of frozen ones not yet thawed, too:
  std::atomic<std::uint64_t> pending_ranges_{0};
  std::atomic<std::uint64_t> changed_groups_{0};
};

}  // namespace weft::fs
