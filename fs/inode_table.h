// fs/inode_table.h - which inodes are in memory: those that somebody holds, and the last used of the others.
//
//   ops -> [inode_table] -> inode, volume
//
// An inode is held by pins (an operation under way: InodeRef) and by references (the caller's, until forget()). When
// the last of both goes, it joins the idle ones, of which the longest idle leave; without links it goes to `on_dead` instead,
// once, and is kStale for everybody until erase().
//
// Under a caller that has outlived an earlier mount (FileSystemOptions::takes_over) an inode that was there before is claimed until a
// forget() leaves no reference that we know of: how many the earlier mount had given nobody knows any more, but whoever holds
// an inode gives all of them back at once. A claimed inode without links stays in memory, so that its forget() finds it.
//
// Invariants  T1  there is at most one Inode of a number
//             T2  an inode is in its shard's idle list exactly when it has no pins, no references, and links
//             T3  nothing without links goes to `on_dead` while it is claimed
// Locks       a shard's lock is innermost but for Inode::lock_, and held for a few steps only
// Parks       get() where the inode must be read; nothing else, except through `on_dead`
// Thread- and fiber-safe.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "fs/inode.h"
#include "fs/volume.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs {

class InodeTable;

// A pin: as long as it lives, the inode stays in memory and is not reclaimed. Declare it before the guards of the
// inode's locks: dropping the last one of an inode without links may reclaim it on the spot.
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
  // `claimed`: so are the inodes that are on the volume already.
  InodeTable(Volume& volume, std::uint64_t idle_limit, bool claimed, std::move_only_function<void(InodeNo)> on_dead);
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
  [[nodiscard]] bool referred(const Inode& inode);  // or claimed

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
    Inode* newest = nullptr;
    Inode* oldest = nullptr;
    std::uint64_t idle = 0;
  };

  Shard& shard_of(InodeNo number) noexcept { return shards_[number.value() % kShards]; }
  static void hold(Shard& shard, Inode& inode) noexcept;
  static void unlink_idle(Shard& shard, Inode& inode) noexcept;
  Result<void> load(Inode& inode);
  void unpin(Inode& inode);
  void release(InodeNo number, FunctionRef<void(Inode&)> take_back);

  Volume& volume_;
  const std::uint64_t idle_limit_per_shard_;
  const bool claimed_;
  std::move_only_function<void(InodeNo)> on_dead_;
  std::array<Shard, kShards> shards_;
};

}  // namespace weft::fs
