#include "fs/volume.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <utility>

#include "fs/allocator.h"
#include "fs/btree.h"
#include "fs/checkpoint.h"
#include "fs/format_check.h"
#include "fs/group_table.h"
#include "fs/housekeeper.h"
#include "fs/journal.h"
#include "fs/journal_replay.h"
#include "fs/layout.h"
#include "fs/superblock.h"
#include "kernel/check.h"
#include "kernel/log.h"
#include "kernel/metered_disk.h"
#include "kernel/metrics.h"
#include "kernel/trace.h"

namespace weft::fs {
namespace {

// Checkpoints that begin() takes for space before it gives up: one makes reusable what was freed, a second what the first's own
// copying freed.
constexpr int kCheckpointsForSpace = 2;

std::uint64_t most_bytes(const TransactionNeeds& needs) noexcept {
  return sizeof(DiskTransaction) + std::uint64_t{needs.changes} * sizeof(DiskChange) + needs.value_bytes;
}

AllocatorConfig allocator_config(const Layout& layout, const GroupTable& groups, const VolumeOptions& options) {
  AllocatorConfig config;
  config.block_count = layout.block_count;
  config.first_block = layout.data_start();
  config.end_block = layout.data_end();
  config.free_counts = groups.free_counts();
  config.max_loaded_groups = std::max<std::uint64_t>(options.bitmap_bytes / sizeof(AllocatorGroup), 16);
  return config;
}

BTreeConfig tree_config(const DiskSuperblock& superblock, const VolumeOptions& options) {
  BTreeConfig config;
  config.uuid = superblock.uuid;
  config.root.block = BlockNo(superblock.root.block.get());
  config.root.birth = CheckpointNo(superblock.root.birth.get());
  config.root.level = static_cast<std::uint8_t>(superblock.root_level.get());
  config.checkpoint = CheckpointNo(superblock.checkpoint + 1);
  config.cache_bytes = options.cache_bytes;
  config.metrics = options.metrics;
  return config;
}

// The log that a mount for writing begins: of a new epoch, so that no record of an earlier one can be taken for its own.
JournalConfig journal_config(const DiskSuperblock& superblock, const Layout& layout, const LogPlan& plan,
                             const VolumeOptions& options) {
  JournalConfig config;
  config.uuid = superblock.uuid;
  config.log_offset_bytes = layout.log_offset_bytes();
  config.log_bytes = layout.log_bytes();
  config.epoch = superblock.log_epoch + 1;
  config.next_sequence = plan.next_sequence;
  config.next_lsn = plan.next_lsn;
  config.buffer_bytes = options.log_buffer_bytes;
  config.metrics = options.metrics;
  return config;
}

}  // namespace

// Bitmaps on their way to the allocator; one that cannot be believed is reported before somebody's operation fails by it.
class ReportedBitmaps final : public BitmapSource {
 public:
  using Report = std::function<void(const Error&)>;
  ReportedBitmaps(GroupTable& groups, Report report) : groups_(groups), report_(std::move(report)) {}
  Status load_bitmap(std::uint32_t group, std::span<std::byte, kBlockBytes> bitmap) override {
    Status status = groups_.load_bitmap(group, bitmap);
    if (!status) report_(status.error());
    return status;
  }

 private:
  GroupTable& groups_;
  Report report_;
};

struct Volume::Parts {
  Parts(BlockDevice& device_in, const VolumeOptions& options_in, const DiskSuperblock& found,
        std::unique_ptr<GroupTable> groups_in, const LogPlan& plan)
      : options(options_in),
        metrics(metrics_or_default(options.metrics)),
        device(device_in, metrics),
        commits(metrics.counter("fs.volume.commits", "transactions committed, durable or not")),
        commit_bytes(metrics.counter("fs.volume.commit_bytes", "bytes of them")),
        clock(options.clock != nullptr ? *options.clock : system_clock()),
        superblock(found),
        layout(found),
        groups(std::move(groups_in)),
        bitmaps(*groups, [this](const Error& error) { unreadable(error); }),
        allocator(allocator_config(layout, *groups, options), bitmaps),
        tree(device, allocator, tree_config(found, options)),
        journal(device, journal_config(found, layout, plan, options)),
        checkpointer(device, found, tree, allocator, *groups, journal, counters, metrics),
        housekeeper(checkpointer, journal, std::chrono::milliseconds(options.commit_interval_ms)) {
    counters.next_inode = superblock.next_inode.get();
    counters.inode_count = superblock.inode_count.get();
    counters.state = superblock.state.get();
    counters.error_count = superblock.error_count.get();
  }

  Status replay(const LogPlan& plan);
  Status begin_writing();
  Status apply(std::span<const std::byte> transaction, FunctionRef<void()> in_order);
  Result<Reservation> reserve_space(const TransactionNeeds& needs);
  void request_checkpoint();
  Status wait_for_memory();
  [[nodiscard]] bool is_much_dirty() const;
  [[nodiscard]] bool is_too_much_held() const;
  void damaged(const Error& error, bool fatal);
  void unreadable(const Error& error);
  template <typename R>
  R reported(R result) {
    if (!result) unreadable(result.error());
    return result;
  }

  const VolumeOptions options;
  Metrics& metrics;
  MeteredDisk device;
  Counter& commits;
  Counter& commit_bytes;
  Clock& clock;
  const DiskSuperblock superblock;  // as found: for what does not change while mounted
  const Layout layout;
  std::unique_ptr<GroupTable> groups;
  ReportedBitmaps bitmaps;
  Allocator allocator;
  BTree tree;
  Journal journal;
  VolumeCounters counters;
  Checkpointer checkpointer;
  Housekeeper housekeeper;
  bool closed = false;
};

// ------------------------------------------------------------------------------------------------ open and close

Result<std::unique_ptr<Volume>> Volume::open(BlockDevice& device, const VolumeOptions& options) {
  const FoundSuperblock found = TRY(find_superblock(device));
  const DiskSuperblock& superblock = found.superblock;
  VolumeOptions effective = options;
  if (const std::uint64_t unknown = superblock.features_ro_compat & ~kFeaturesRoCompatKnown;
      unknown != 0 && !options.read_only) {
    log_warning("%s: has features that this program can only read (%#llx): mounted read-only", device.name().c_str(),
                static_cast<unsigned long long>(unknown));
    effective.read_only = true;
  }
  if (device.geometry().read_only && !effective.read_only) {
    return fail(Errc::kReadOnly, fmt::format("{}: the device is read-only: mount read-only", device.name()));
  }
  const Layout layout(superblock);
  const bool was_mounted = (superblock.state & kStateMounted) != 0;
  const LogPlan plan = TRY(read_log(device, superblock, layout, was_mounted || found.slot_unreadable));
  if (plan.search_cut_short) {
    log_warning("%s: behind the end of its log lies what looks like a log and is none; not all of it was looked at",
                device.name().c_str());
  }
  if (plan.damage && !effective.read_only) return fail(Error(*plan.damage).with(device.name()));

  std::unique_ptr<GroupTable> groups = TRY(GroupTable::load(device, superblock));
  auto parts = std::make_unique<Parts>(device, effective, superblock, std::move(groups), plan);
  TRY(parts->replay(plan));
  if (plan.damage) parts->damaged(*plan.damage, false);
  if (!effective.read_only) TRY(parts->begin_writing());
  return std::unique_ptr<Volume>(new Volume(std::move(parts)));
}

Status Volume::Parts::replay(const LogPlan& plan) {
  return replay_log(
      device, superblock, layout, plan, [&](BlockRange blocks) { return allocator.hold_for_replay(blocks); },
      [&](std::span<const std::byte> transaction) -> Status {
        DiskTransaction header;
        std::memcpy(&header, transaction.data(), sizeof(header));
        auto reservation = allocator.reserve(0, tree.node_bound(header.changes), true);
        if (!reservation && reservation.error() == Errc::kNoSpace) {
          // The bound is generous, and the volume was so full that only some of it is there: what was enough then is enough now.
          reservation = allocator.reserve(0, allocator.space().allocatable_blocks, true);
        }
        if (!reservation) return fail(std::move(reservation).error());
        return apply(transaction, [] {});
      });
}

// The first checkpoint of a mount: what was replayed, a new epoch of the log, and the mark that says "in use".
Status Volume::Parts::begin_writing() {
  DiskSuperblock& next = checkpointer.superblock();
  next.mounted = disk_time(clock.wall());
  next.mount_count = superblock.mount_count + 1;
  counters.state |= kStateMounted;
  TRY(checkpointer.run());
  if (options.background) housekeeper.start();
  return {};
}

Status Volume::close() {
  Parts& parts = *parts_;
  if (std::exchange(parts.closed, true)) return {};
  parts.housekeeper.stop();
  if (parts.options.read_only) return {};
  if (auto reason = failure()) return fail(std::move(*reason));
  parts.counters.state &= ~std::uint32_t{kStateMounted};
  TRY(parts.checkpointer.run());
  TRY(parts.journal.flush_device());  // the superblock's copy
  parts.journal.fail_for_good(Error(Errc::kClosed, "the volume has been closed"));
  return {};
}

Volume::Volume(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Volume::~Volume() = default;

// ------------------------------------------------------------------------------------------------------- reading

Result<bool> Volume::get(Key key, FunctionRef<void(std::span<const std::byte>)> visit) {
  return parts_->reported(parts_->tree.get(key, visit));
}

Status Volume::scan(Key from, Key to, FunctionRef<bool(Key, std::span<const std::byte>)> visit) {
  return parts_->reported(parts_->tree.scan(from, to, visit));
}

Result<bool> Volume::last(Key from, Key to, FunctionRef<void(Key, std::span<const std::byte>)> visit) {
  return parts_->reported(parts_->tree.last(from, to, visit));
}

// ------------------------------------------------------------------------------------------------------ changing

// Space for a transaction; what was freed since the last checkpoint is made usable when nothing else is left.
Result<Reservation> Volume::Parts::reserve_space(const TransactionNeeds& needs) {
  for (int checkpoints = 0;; ++checkpoints) {
    const CheckpointNo seen = checkpointer.done();
    auto reservation = allocator.reserve(needs.data_blocks, tree.node_bound(needs.changes), needs.frees_space);
    if (reservation || !(reservation.error() == Errc::kNoSpace)) return reservation;
    if (checkpoints == kCheckpointsForSpace || allocator.space().pending_blocks == 0) return reservation;
    TRY(checkpointer.run_once_since(seen));
  }
}

Result<Transaction> Volume::begin(Intent intent, InodeNo about, const TransactionNeeds& needs) {
  Parts& parts = *parts_;
  if (parts.options.read_only) return fail(Errc::kReadOnly);
  if (parts.journal.failed()) return fail(*parts.journal.failure());
  TRY(parts.wait_for_memory());
  Reservation space = TRY(parts.reserve_space(needs));
  LogRoom room = TRY(parts.journal.reserve(most_bytes(needs), [&]() -> Status {
    if (parts.options.background) {
      parts.housekeeper.request_checkpoint();
      parts.journal.wait_for_room();
      return {};
    }
    return parts.checkpointer.run();
  }));
  Transaction transaction(std::move(space), intent, about, needs);
  transaction.log_room_ = std::move(room);
  return transaction;
}

Status Volume::Parts::apply(std::span<const std::byte> transaction, FunctionRef<void()> in_order) {
  ApplyEffects effects;
  TRY(tree.apply(transaction, effects, [&] {
    // Under the exclusive tree lock, so that a checkpoint sees number and keys of the same instant.
    counters.inode_count.fetch_add(static_cast<std::uint64_t>(effects.inodes), std::memory_order_relaxed);
    std::uint64_t next = counters.next_inode.load(std::memory_order_relaxed);
    while (next <= effects.highest_inode &&
           !counters.next_inode.compare_exchange_weak(next, effects.highest_inode + 1)) {}
    in_order();
  }));
  if (effects.damage) damaged(Error(Errc::kCorrupt, *effects.damage), false);
  return {};
}

Result<Lsn> Volume::commit(Transaction&& transaction) {
  Parts& parts = *parts_;
  if (parts.journal.failed()) return fail(*parts.journal.failure());
  if (transaction.empty()) {
    transaction.settle();
    transaction.log_room_.release();
    return parts.journal.committed();
  }
  const TraceSpan span("fs.volume.commit");
  const std::span<const std::byte> bytes = transaction.finish();
  Lsn lsn;
  if (auto status = parts.apply(bytes, [&] { lsn = parts.journal.append(bytes, std::move(transaction.log_room_)); });
      !status) {
    // Part of it may be in the tree.
    if (status.error() == Errc::kCorrupt) {
      parts.damaged(status.error(), true);
    } else {
      parts.unreadable(status.error());
    }
    return fail(std::move(status).error());
  }
  parts.commits.add();
  parts.commit_bytes.add(bytes.size());
  transaction.settle();
  (void)parts.journal.write_out_if_much();  // a failure shows at the next begin() or make_durable()
  if (parts.journal.wants_checkpoint() || parts.is_much_dirty()) parts.request_checkpoint();
  return lsn;
}

// A third of what may be held until a checkpoint lets go of it: while one writes that, as much again comes.
bool Volume::Parts::is_much_dirty() const {
  return tree.dirty_bytes() + allocator.pending_bytes() > options.cache_bytes / 4 ||
         allocator.changed_bytes() > options.bitmap_bytes / 4;
}

bool Volume::Parts::is_too_much_held() const {
  return tree.held_bytes() + allocator.pending_bytes() > options.cache_bytes / 4 * 3 ||
         allocator.changed_bytes() > options.bitmap_bytes / 4 * 3;
}

void Volume::Parts::request_checkpoint() {
  if (options.background) {
    housekeeper.request_checkpoint();
  } else if (is_much_dirty()) {
    (void)checkpointer.run();
  }
}

// Until less is held than may be; what is left of the cache is for reading.
Status Volume::Parts::wait_for_memory() {
  while (options.background && is_too_much_held()) {
    if (journal.failed()) return fail(*journal.failure());
    housekeeper.request_checkpoint();
    journal.wait_for_room();
  }
  return {};
}

Status Volume::make_durable(Lsn lsn) { return parts_->journal.make_durable(lsn); }
Status Volume::make_written(Lsn lsn) { return parts_->journal.make_written(lsn); }
Lsn Volume::committed() const noexcept { return parts_->journal.committed(); }
Lsn Volume::durable() const noexcept { return parts_->journal.durable(); }

Status Volume::checkpoint() {
  Parts& parts = *parts_;
  if (parts.options.read_only) return fail(Errc::kReadOnly);
  return parts.checkpointer.run();
}

// ------------------------------------------------------------------------------------------------------- numbers

Result<InodeNo> Volume::new_inode() {
  std::uint64_t next = parts_->counters.next_inode.load(std::memory_order_relaxed);
  do {
    // No volume comes here in a lifetime; one that was forged to must not write a number that the next mount refuses.
    if (next >= kMaxInodeNo) return fail(Errc::kNoSpace, "all inode numbers have been given");
  } while (!parts_->counters.next_inode.compare_exchange_weak(next, next + 1, std::memory_order_relaxed));
  return InodeNo(next);
}

VolumeSpace Volume::space() const noexcept {
  const AllocatorSpace space = parts_->allocator.space();
  const std::uint64_t kept = space.held_back_blocks + space.reserved_blocks;
  VolumeSpace result;
  result.total_blocks = space.total_blocks;
  result.free_blocks = space.free_blocks;
  result.available_blocks = space.free_blocks > kept ? space.free_blocks - kept : 0;
  result.inode_count = parts_->counters.inode_count.load(std::memory_order_relaxed);
  return result;
}

const DiskUuid& Volume::uuid() const noexcept { return parts_->superblock.uuid; }

std::string Volume::label() const {
  const auto& label = parts_->superblock.label;
  return {label, std::find(std::begin(label), std::end(label), 0)};
}

std::span<const std::uint8_t, 16> Volume::hash_seed() const noexcept { return parts_->superblock.hash_seed; }
bool Volume::read_only() const noexcept { return parts_->options.read_only || parts_->journal.failed(); }
std::optional<Error> Volume::failure() const { return parts_->journal.failure(); }
BlockDevice& Volume::device() noexcept { return parts_->device; }
Clock& Volume::clock() noexcept { return parts_->clock; }
Metrics& Volume::metrics() noexcept { return parts_->metrics; }

void Volume::Parts::damaged(const Error& error, bool fatal) {
  log_error("%s: %s", device.name().c_str(), error.message().c_str());
  counters.state |= kStateErrors;
  ++counters.error_count;
  if (fatal) journal.fail_for_good(error);
}

// Metadata that could not be had: whoever asked gets the error, and whoever runs this a line.
void Volume::Parts::unreadable(const Error& error) {
  if (error.code() == Errc::kCorrupt) return damaged(error, false);
  if (error.code() == Errc::kIo) log_error("%s: metadata: %s", device.name().c_str(), error.message().c_str());
}

void Volume::report_damage(const Error& error, bool fatal) { parts_->damaged(error, fatal); }

DataInFlight& Volume::data_in_flight() noexcept { return parts_->journal.data_in_flight(); }

void Volume::fail_for_good(Error error) { parts_->journal.fail_for_good(std::move(error)); }

void Volume::shut_down() { parts_->journal.fail_for_good(Error(Errc::kClosed, "the file system has been shut down")); }

Result<VerifiedLeaf> Volume::verify_leaf(Key key) { return parts_->tree.verify_leaf(key); }

Result<std::uint64_t> Volume::verify_groups(std::uint64_t first, std::uint64_t count,
                                            FunctionRef<void(BlockNo, const Error&)> bad) {
  return parts_->checkpointer.verify(first, count, bad);
}

std::uint64_t Volume::group_count() const noexcept { return parts_->layout.group_count; }

Result<std::uint64_t> Volume::trim(BlockNo first, std::uint64_t count, std::uint64_t min_blocks) {
  Parts& parts = *parts_;
  if (parts.options.read_only) return fail(Errc::kReadOnly);
  if (!parts.device.geometry().can_discard) return fail(Errc::kUnsupported, parts.device.name() + ": cannot discard");
  std::uint64_t bytes = 0;
  TRY(parts.allocator.visit_free({first, count}, min_blocks, [&](BlockRange run) -> Status {
    if (parts.journal.failed()) return fail(*parts.journal.failure());
    TRY(parts.device.discard(run.start.value() * kBlockBytes, run.count * kBlockBytes));
    bytes += run.count * kBlockBytes;
    return {};
  }));
  return bytes;
}

}  // namespace weft::fs
