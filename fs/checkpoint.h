// fs/checkpoint.h - turns the superblock to a new state of the tree, without writing over the old one.
//
//   volume (asked, log half full, no space, mount, close) -> [checkpoint] -> tree, allocator, journal ; block device
//
// Under the exclusive tree lock, for a moment: the dirty nodes, the changed bitmaps, the next Lsn and the log's position, all of
// one instant. Then, while transactions go on: nodes to their (fresh) blocks, bitmaps and table blocks to the places that are not
// current, flush; superblock to the oldest slot, flush. The marked line in checkpoint.cc is where the new state takes over.
// Until then every byte that the old superblock leads to is as it was (V2), so nothing torn on the way can matter.
//
// Invariants  C1  one checkpoint at a time, numbered one up
//             C2  what it freed, and the log before it, is reused only after its superblock is durable
// Locks       run_lock_ -> tree lock -> allocator lock -> journal lock
// Parks       on the device. A failure is for good (Journal::fail_for_good): the frozen state cannot be put back.
// Metrics     fs.checkpoint.{count,blocks,bytes}, fs.checkpoint.latency_us
// Tests       tests/fs/checkpoint_test.cc, tests/fs/volume_crash_test.cc
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

#include "fs/allocator.h"
#include "fs/btree.h"
#include "fs/format.h"
#include "fs/group_table.h"
#include "fs/journal.h"
#include "fs/lock_ranks.h"
#include "kernel/block_device.h"
#include "kernel/function_ref.h"
#include "kernel/metrics.h"
#include "kernel/result.h"
#include "sched/mutex.h"

namespace weft::fs {

// What the superblock says besides what tree, allocator and journal know. Each may change at any time; a checkpoint takes what it finds
// under the tree lock.
struct VolumeCounters {
  std::atomic<std::uint64_t> next_inode{0};
  std::atomic<std::uint64_t> inode_count{0};
  std::atomic<std::uint32_t> state{0};  // SuperblockState bits
  std::atomic<std::uint32_t> error_count{0};
};

class Checkpointer {
 public:
  Checkpointer(BlockDevice& device, const DiskSuperblock& superblock, BTree& tree, Allocator& allocator,
               GroupTable& groups, Journal& journal, VolumeCounters& counters, Metrics& metrics)
      : device_(device),
        tree_(tree),
        allocator_(allocator),
        groups_(groups),
        journal_(journal),
        counters_(counters),
        meter_count_(metrics.counter("fs.checkpoint.count", "checkpoints that became durable")),
        meter_blocks_(metrics.counter("fs.checkpoint.blocks", "blocks of tree nodes and bitmaps in them")),
        meter_bytes_(metrics.counter("fs.checkpoint.bytes", "bytes they wrote, superblocks included")),
        meter_latency_(metrics.histogram("fs.checkpoint.latency_us", "microseconds a checkpoint took")),
        superblock_(superblock),
        done_(superblock.checkpoint) {}

  // All that was committed before the call is in a durable checkpoint afterwards.
  Status run();
  // As run(), but content with a checkpoint that became durable since `seen` (a former done()): for callers that want what a
  // checkpoint frees and may be many.
  Status run_once_since(CheckpointNo seen);
  [[nodiscard]] CheckpointNo done() const noexcept { return CheckpointNo(done_.load(std::memory_order_acquire)); }
  // Reads superblocks (with group 0), table blocks and bitmaps of groups [first, first + count) anew, as the newest checkpoint has
  // them; checkpoints wait meanwhile. The number of blocks read. Parks.
  Result<std::uint64_t> verify(std::uint64_t first_group, std::uint64_t count,
                               FunctionRef<void(BlockNo, const Error&)> bad);
  // For what the mount changes before its first checkpoint; not while one runs.
  [[nodiscard]] DiskSuperblock& superblock() noexcept { return superblock_; }

 private:
  Status run_locked();
  void hold_back_space();
  Status write_all(const FrozenTree& tree, const GroupTable::Staged& staged);

  BlockDevice& device_;
  BTree& tree_;
  Allocator& allocator_;
  GroupTable& groups_;
  Journal& journal_;
  VolumeCounters& counters_;
  Counter& meter_count_;
  Counter& meter_blocks_;
  Counter& meter_bytes_;
  Histogram& meter_latency_;
  sched::Mutex run_lock_{kCheckpointLock};
  DiskSuperblock superblock_;  // the newest durable one; guarded by run_lock_
  bool ran_ = false;           // since the mount; guarded by run_lock_
  std::atomic<std::uint64_t> done_;
};

}  // namespace weft::fs
