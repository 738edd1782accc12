// fs/journal_replay.h - finds out what the log holds since the last checkpoint, and plays it again.
//
//   volume (open), fsck  ->  [journal_replay]  ->  block device ; hold and apply go to allocator and tree
//
// read_log() follows the chain from the superblock's tail: right uuid, epoch, consecutive sequence, checksum. Behind its end it
// tells legal loss from rot: a record further on which says that it knew the missing one to be flushed proves that
// acknowledged data has been lost, and that is damage, never passed over. Records that nobody is known to have seen flushed
// count only if the data they map is on the device; the log ends at the first whose data is not.
//
// The one thing that cannot be told apart is rot in the very last group of records from a power cut during its flush:
// nothing written later vouches for it.
//
// Writes nothing. Parks on the device. Memory: two windows of a record's size and 64 bytes a record.
// Format: fs/FORMAT.md "Journal". Tests: tests/fs/journal_replay_test.cc.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "fs/format.h"
#include "fs/layout.h"
#include "fs/types.h"
#include "kernel/block_device.h"
#include "kernel/error.h"
#include "kernel/function_ref.h"
#include "kernel/result.h"

namespace weft::fs {

struct LogRecordPlace {
  std::uint64_t offset_bytes;  // in the log
  std::uint64_t sequence;
  std::uint64_t first_lsn;
  std::uint64_t flushed_sequence;
  std::uint32_t length_bytes;
  std::uint32_t transactions;
};

struct LogPlan {
  std::vector<LogRecordPlace> records;  // to be applied, in order, without fillers
  std::uint64_t next_sequence = 1;      // of the record that would come next
  Lsn next_lsn;                         // after all of `records`
  std::uint64_t lost_records = 0;       // found, but past the end: never acknowledged as far as anyone can know
  bool search_cut_short = false;        // what lies behind the end is no log of ours, and endless to look at
  // Acknowledged transactions are missing, or a record cannot be true. `records` is what comes before.
  std::optional<Error> damage;
};

// `search_all`: look behind the chain's end, too, for signs of rot; wanted unless the volume was cleanly closed.
Result<LogPlan> read_log(BlockDevice& device, const DiskSuperblock& superblock, const Layout& layout, bool search_all);

// Calls `hold` for every extent that any of the records maps, then `apply` for each transaction that is not in the checkpoint yet.
Status replay_log(BlockDevice& device, const DiskSuperblock& superblock, const Layout& layout, const LogPlan& plan,
                  FunctionRef<Status(BlockRange)> hold, FunctionRef<Status(std::span<const std::byte>)> apply);

}  // namespace weft::fs
