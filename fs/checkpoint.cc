#include "fs/checkpoint.h"

#include <sys/uio.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "fs/format_check.h"
#include "fs/superblock.h"
#include "kernel/check.h"
#include "kernel/planted_bug.h"
#include "kernel/trace.h"

namespace weft::fs {
namespace {

constexpr std::size_t kMaxGathered = 256;  // pages in one request: 1 MiB
constexpr std::size_t kMaxRequests = 32;   // at a time

// Writes blocks given in ascending order: neighbours in one request, many requests at once.
class BlockWriter {
 public:
  explicit BlockWriter(BlockDevice& device) : device_(device) { vectors_.reserve(kMaxGathered * kMaxRequests); }

  Status add(BlockNo block, const std::byte* bytes) {
    if (requests_.empty() || block != next_ || requests_.back().vectors.size() == kMaxGathered) {
      if (requests_.size() == kMaxRequests) TRY(finish());
      requests_.push_back({BlockOp::kWrite, block.value() * kBlockBytes, 0,
                           std::span<const iovec>(vectors_.data() + vectors_.size(), 0)});
    }
    vectors_.push_back({const_cast<std::byte*>(bytes), kBlockBytes});  // within what was reserved: spans stay valid
    BlockIo& request = requests_.back();
    request.vectors = std::span<const iovec>(request.vectors.data(), request.vectors.size() + 1);
    request.length_bytes += kBlockBytes;
    next_ = block + 1;
    return {};
  }

  Status finish() {
    Status status;
    if (!requests_.empty()) status = device_.run(requests_);
    requests_.clear();
    vectors_.clear();
    return status;
  }

 private:
  BlockDevice& device_;
  std::vector<iovec> vectors_;
  std::vector<BlockIo> requests_;
  BlockNo next_;
};

}  // namespace

Status Checkpointer::run() {
  const std::lock_guard lock(run_lock_);
  return run_locked();
}

Status Checkpointer::run_once_since(CheckpointNo seen) {
  const std::lock_guard lock(run_lock_);
  if (done() > seen) return {};
  return run_locked();
}

Status Checkpointer::run_locked() {
  if (auto failure = journal_.failure()) return fail(std::move(*failure));
  const TraceSpan span("fs.checkpoint");
  const auto start = std::chrono::steady_clock::now();
  TRY(allocator_.prepare_freeze());
  FrozenSpace space;
  JournalMark mark;
  DiskSuperblock next = superblock_;
  const FrozenTree tree = TRY(tree_.freeze([&]() -> Status {
    space = TRY(allocator_.freeze());
    mark = journal_.mark();
    next.next_inode = counters_.next_inode.load(std::memory_order_relaxed);
    next.inode_count = counters_.inode_count.load(std::memory_order_relaxed);
    next.state = counters_.state.load(std::memory_order_relaxed);
    next.error_count = counters_.error_count.load(std::memory_order_relaxed);
    return {};
  }));
  WEFT_CHECK(tree.checkpoint.value() == superblock_.checkpoint + 1);  // C1
  if (planted(Bug::kFreedReusedEarly)) {
    FrozenSpace early;
    early.pending = std::exchange(space.pending, {});
    (void)allocator_.thaw(std::move(early));
  }
  if (planted(Bug::kTailMovedEarly)) journal_.checkpointed(mark, tree.checkpoint);
  next.checkpoint = tree.checkpoint.value();
  next.root.block = tree.root.block.value();
  next.root.birth = tree.root.birth.value();
  next.root_level = tree.root.level;
  next.free_blocks = space.free_blocks;
  next.log_tail_bytes = journal_.offset_of(mark.position);
  next.log_tail_sequence = mark.sequence;
  next.log_epoch = journal_.epoch();
  next.next_lsn = mark.next_lsn.value();
  const GroupTable::Staged staged = groups_.stage(space, next);

  Status status;
  if (!ran_ && !planted(Bug::kTornSlotKept))
    status = wipe_torn_slot(device_, next, [&] { return journal_.flush_device(); });
  if (status && planted(Bug::kSuperblockFirst)) status = write_superblock(device_, next);
  if (status) status = write_all(tree, staged);
  if (planted(Bug::kMarkTakenLate)) {
    mark = journal_.mark();
    next.log_tail_bytes = journal_.offset_of(mark.position);
    next.log_tail_sequence = mark.sequence;
    next.next_lsn = mark.next_lsn.value();
  }
  if (status) status = journal_.flush_device();
  if (status) status = write_superblock(device_, next);
  if (status) status = journal_.flush_device();  // THE NEW STATE TAKES OVER HERE
  // Again at the other end of the volume, so that the loss of one block does not set it back. The next flush covers it.
  if (status) status = write_superblock_copy(device_, next);
  if (!status) {
    journal_.fail_for_good(Error(status.error()).with("a checkpoint failed, the volume is read-only from here on"));
    return status;
  }
  superblock_ = next;
  ran_ = true;
  groups_.commit(staged);
  tree_.written(tree);
  (void)allocator_.thaw(std::move(space));
  hold_back_space();
  journal_.checkpointed(mark, tree.checkpoint);
  done_.store(tree.checkpoint.value(), std::memory_order_release);
  const std::uint64_t blocks = tree.nodes.size() + staged.writes.size();
  meter_count_.add();
  meter_blocks_.add(blocks);
  meter_bytes_.add((blocks + 2) * kBlockBytes);
  meter_latency_.add(static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start).count()));
  return {};
}

Result<std::uint64_t> Checkpointer::verify(std::uint64_t first_group, std::uint64_t count,
                                           FunctionRef<void(BlockNo, const Error&)> bad) {
  const std::lock_guard lock(run_lock_);
  if (auto failure = journal_.failure()) return fail(std::move(*failure));
  std::uint64_t blocks = 0;
  // A mount that has written none knows of one copy only.
  if (first_group == 0 && ran_) {
    for (const BlockNo where : {newest_superblock(superblock_), newest_superblock_copy(superblock_)}) {
      ++blocks;
      if (auto status = verify_superblock(device_, superblock_, where); !status) bad(where, status.error());
    }
  }
  blocks += groups_.verify(superblock_, first_group, count, bad);
  return blocks;
}

// So that a full volume can still delete: every path of the tree, which may have grown, copied anew for several transactions at once.
void Checkpointer::hold_back_space() {
  const std::uint64_t least = tree_.node_bound(8);
  allocator_.set_held_back(
      std::clamp<std::uint64_t>(allocator_.space().total_blocks / 32, least, std::max<std::uint64_t>(8192, least)));
}

Status Checkpointer::write_all(const FrozenTree& tree, const GroupTable::Staged& staged) {
  BlockWriter writer(device_);
  for (const FrozenNode& node : tree.nodes) {
    BTree::seal(node);
    TRY(writer.add(node.block, node.page.data()));
  }
  std::vector<GroupTable::Write> writes = staged.writes;
  std::ranges::sort(writes, {}, &GroupTable::Write::block);
  for (const GroupTable::Write& write : writes) TRY(writer.add(write.block, write.bytes));
  return writer.finish();
}

}  // namespace weft::fs
