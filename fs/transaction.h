// fs/transaction.h - the set of key changes that happens whole or not at all.
//
//   ops -> file, directory, xattr -> [transaction] -> volume -> journal
//
// A transaction is begun by Volume::begin(), which sets space aside for it, filled by the functions that take
// Transaction&, and given to Volume::commit(). Dropped instead, it never happened: what it set aside and what it
// allocated goes back. The changes are kept as the bytes that the journal will hold (DiskTransaction, DiskChange ...).
//
// Thread-safety: none; one fiber fills one transaction. Only allocate() may park.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "fs/allocator.h"
#include "fs/format.h"
#include "fs/key.h"
#include "fs/log_room.h"
#include "fs/types.h"
#include "kernel/result.h"

namespace weft::fs {

class Volume;

// The most that a transaction will ask for; begin() refuses (kNoSpace) or waits (for room in the log) on that ground, so that
// nothing after it can fail for lack of space. Too high is harmless, too low is a bug and checked.
struct TransactionNeeds {
  std::uint32_t changes = 8;         // puts, erases, maps and unmaps
  std::uint32_t value_bytes = 2048;  // of all of them together
  std::uint64_t data_blocks = 0;     // for allocate()
  // May draw on the space held back so that a full volume can still delete: for what gives back more than it takes.
  bool frees_space = false;
};

class Transaction {
 public:
  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) = delete;
  Transaction(const Transaction&) = delete;
  ~Transaction();

  void put(Key key, std::span<const std::byte> value);  // at most kMaxValueBytes
  void erase(Key key);
  // File blocks [first, first + extent length) of `owner` become `blocks`. `checksums`: one a block, or none with a flag that says so;
  // `blocks` beyond what one extent may hold are split into several changes. `fresh`: see kChangeFreshData.
  void map(InodeNo owner, FileBlock first, BlockRange blocks, std::uint32_t extent_flags,
           std::span<const std::uint32_t> checksums, bool fresh);
  void unmap(InodeNo owner, FileBlock first, std::uint64_t count);

  // Up to `want` blocks in one run, close behind `goal` if possible (BlockNo{} for no wish); at least 1, perhaps fewer than wanted.
  // They belong to the transaction until it commits: then those that it mapped are the file's and any others free again.
  Result<BlockRange> allocate(BlockNo goal, std::uint64_t want);

  [[nodiscard]] bool empty() const noexcept { return changes_ == 0; }

 private:
  friend class Volume;
  // `reservation` covers needs.data_blocks and BTree::node_bound(needs.changes).
  Transaction(Reservation reservation, Intent intent, InodeNo about, const TransactionNeeds& needs);
  void add_change(ChangeKind kind, std::uint8_t flags, Key key, std::size_t value_bytes);

  // For Volume::commit(): the bytes to apply and to log. After BTree::apply(), settle() gives back the blocks that were not
  // mapped and what is left of the reservation; the transaction is over then.
  [[nodiscard]] std::span<const std::byte> finish();
  void settle();

  LogRoom log_room_;              // set by Volume::begin()
  Reservation reservation_;       // no allocator: over, or moved from
  std::vector<std::byte> bytes_;  // DiskTransaction and its changes so far
  std::uint32_t changes_ = 0;
  TransactionNeeds needs_;
  std::vector<BlockRange> unmapped_;  // allocated, not mapped (yet)
  std::vector<BlockRange> mapped_;    // allocated and mapped
};

}  // namespace weft::fs
