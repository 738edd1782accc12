// fs/inode_table.h - which inodes are in memory: those that operations are at work on, and the last used of the others.
//
//   ops -> [inode_table] -> inode, reference_counts, volume
//
// An inode is pinned by operations under way (InodeRef), and kept in being by references (the caller's, until forget()). A
// reference alone is a count and no Inode: a kernel holds as many as it likes, and what it asks about is read again. So when the
// last pin goes, an inode joins the idle ones, of which the longest idle leave. Without links it stays as long as there are
// references, and goes to `on_dead` when there are none, once, and is kStale for everybody until erase().
//
// Under a caller that has outlived an earlier mount (FileSystemOptions::takes_over) an inode that was there before is claimed until a
// forget() leaves no reference that we know of: how many the earlier mount had given nobody knows any more, but whoever holds
// an inode gives all of them back at once. A claimed inode without links stays in memory, so that its forget() finds it.
//
// Invariants  T1  there is at most one Inode of a number
//             T2  an inode is in its shard's idle list exactly when it has no pins, and links
//             T3  what only memory knows of an inode is on its way to the volume (`on_leaving`) before it leaves
//             T4  nothing without links goes to `on_dead` while it is claimed
// Locks       a shard's lock is innermost but for Inode::lock_, and held for a few steps only
// Parks       get() where the inode must be read; dropping a pin, through `on_dead` and `on_leaving`; forget(), through `on_dead`
// Metrics     fs.inodes.cached, fs.inodes.referred
// Thread- and fiber-safe. Tests: tests/fs/inode_table_test.cc
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/inode.h"
#include "fs/reference_counts.h"
#include "fs/volume.h"
#include "kernel/function_ref.h"
#include "kernel/metrics.h"
#include "kernel/result.h"

namespace weft::fs {

class InodeTable;

// A pin: as long as it lives, the inode stays in memory and is not reclaimed. Declare it before the guards of the inode's locks, and
// never drop one with a `change` held: dropping the last one of an inode without links may reclaim it on the spot, and any may
// bring another inode to write its time of access and leave.
class InodeRef {
 public:
  InodeRef() noexcept = default;
  InodeRef(InodeRef&& other) noexcept
      : table_(std::exchange(other.table_, nullptr)), inode_(std::exchange(other.inode_, nullptr)) {}
  InodeRef& operator=(InodeRef&& other) noexcept {
    InodeRef old(std::move(*this));
    table_ = std::exchange(other.table_, nullptr);
    inode_ = std::exchange(other.inode_, nullptr);
    return *this;
  }
  ~InodeRef();

  explicit operator bool() const noexcept { return inode_ != nullptr; }
  Inode& operator*() const noexcept { return *inode_; }
  Inode* operator->() const noexcept { return inode_; }
  [[nodiscard]] Inode* get() const noexcept { return inode_; }

 private:
  friend class InodeTable;
  InodeRef(InodeTable& table, Inode& inode) noexcept : table_(&table), inode_(&inode) {}
  InodeTable* table_ = nullptr;
  Inode* inode_ = nullptr;
};

class InodeTable {
 public:
  struct Hooks {
    // Neither links nor holders: the rest of it is to be freed.
    std::move_only_function<void(InodeNo)> on_dead;
    // About to leave with a time of access that the volume does not have yet.
    std::move_only_function<void(Inode&)> on_leaving;
  };
  // `claimed`: so are the inodes that are on the volume already.
  InodeTable(Volume& volume, std::uint64_t idle_limit, bool claimed, Hooks hooks);
  ~InodeTable();

  // kStale: there is no such inode, or it is about to vanish.
  Result<InodeRef> get(InodeNo number);

  // An inode with a new number, which others wait for until ready() or the drop of the guard; dropped, it never was.
  class Newborn {
   public:
    Newborn(InodeTable& table, InodeRef ref) noexcept : table_(&table), ref_(std::move(ref)) {}
    Newborn(Newborn&& other) noexcept : table_(other.table_), ref_(std::move(other.ref_)) {}
    ~Newborn();
    Inode& operator*() const noexcept { return *ref_; }
    Inode* operator->() const noexcept { return ref_.get(); }
    // After its transaction has committed.
    InodeRef ready(const DiskInode& record, Lsn lsn);

   private:
    InodeTable* table_;
    InodeRef ref_;
  };
  // kNoSpace when all numbers have been given.
  Result<Newborn> add_new();

  // The caller's references. The last two may end the inode; give_back() takes one that the caller never had.
  void refer(Inode& inode);
  void forget(InodeNo number, std::uint64_t references);
  void give_back(InodeNo number);
  [[nodiscard]] bool referred(const Inode& inode);              // or claimed
  [[nodiscard]] std::uint64_t referred_count() const noexcept;  // inodes that have references
  // Up to `limit` inodes that have references and have not been asked about for long: each call goes on where the one before ended.
  std::vector<InodeNo> idle_references(std::size_t limit);
  [[nodiscard]] std::uint64_t cached_count() const noexcept;

  // After `on_dead` has done its work.
  void erase(InodeNo number);
  // Pins and visits one after the other.
  void for_each(FunctionRef<void(Inode&)> visit);

 private:
  friend class InodeRef;
  static constexpr std::size_t kShards = 32;
  struct alignas(64) Shard {
    std::mutex lock;
    std::unordered_map<std::uint64_t, std::unique_ptr<Inode>> inodes;
    ReferenceCounts references;
    std::size_t sweep_hand = 0;
    Inode* newest = nullptr;
    Inode* oldest = nullptr;
    std::uint64_t idle = 0;
  };

  Shard& shard_of(InodeNo number) noexcept { return shards_[number.value() % kShards]; }
  static void hold(Shard& shard, Inode& inode) noexcept;
  static void link_idle(Shard& shard, Inode& inode) noexcept;
  static void unlink_idle(Shard& shard, Inode& inode) noexcept;
  Result<void> load(Inode& inode);
  void unpin(Inode& inode);
  Inode* drop_pin(Inode& inode, bool stay);
  void count_cached(std::int64_t change) noexcept;
  void count_referred(std::int64_t change) noexcept;
  std::unique_ptr<Inode> take_out(Shard& shard, InodeNo number);
  static bool is_held(const Shard& shard, const Inode& inode) noexcept;
  void take_back(InodeNo number, std::uint64_t references, bool all);
  static bool must_stay(const Shard& shard, const Inode& inode) noexcept;
  Inode* oldest_to_leave(Shard& shard) noexcept;

  Volume& volume_;
  const std::uint64_t idle_limit_per_shard_;
  const bool claimed_;
  Hooks hooks_;
  Gauge& cached_gauge_;
  Gauge& referred_gauge_;
  std::atomic<std::uint64_t> cached_{0};
  std::atomic<std::uint64_t> referred_{0};
  std::size_t sweep_shard_ = 0;  // of idle_references(), which one caller at a time has
  std::array<Shard, kShards> shards_;
};

}  // namespace weft::fs
