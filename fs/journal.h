// fs/journal.h - makes committed transactions durable, in order, many with one flush.
//
//   volume: begin -> reserve() ; commit -> (under the tree lock) append() ; make_durable() -> [journal] -> block device
//                                                          checkpoint: mark() ... checkpointed()
//
// append() gives a transaction its Lsn and puts its bytes behind those of the one before; nothing is written yet. Of the
// callers of make_durable() one leads: it takes all that is pending, writes it as one record (several when it is large) and
// flushes once. Who comes meanwhile waits and is in the next group. Data blocks are on the device before that flush, since their
// transactions waited for them or the flush does (data_in_flight.h); so it covers them. The marked line in journal.cc is where a
// change becomes DURABLE.
//
// Positions count bytes for ever; modulo the log's size they are offsets in the ring.
//
// Invariants  J1  tail_ <= head_; head_ + pending_cost_ + reserved_ + slack <= tail_ + capacity
//             J2  the order of Lsn is the order of records and of transactions within them
//             J3  durable_ <= written_ <= committed_, and durable_ moves only when a flush (or a checkpoint) has succeeded
//             J4  after the first failed write or flush nothing becomes durable any more
// Locks       tree lock -> lock_; flush_lock_ -> lock_. The device is never waited for under lock_.
// Parks       reserve() for room; make_durable(), make_written() and write_out_if_much() for the device
// Metrics     fs.journal.{records,transactions,bytes,flushes}, fs.journal.group: transactions that share a flush
// Format: fs/FORMAT.md "Journal". Replay: fs/journal_replay.h. Tests: tests/fs/journal_test.cc, tests/fs/volume_crash_test.cc
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/data_in_flight.h"
#include "fs/format.h"
#include "fs/lock_ranks.h"
#include "fs/log_room.h"
#include "fs/types.h"
#include "kernel/block_device.h"
#include "kernel/error.h"
#include "kernel/function_ref.h"
#include "kernel/metrics.h"
#include "kernel/result.h"
#include "sched/condition_variable.h"
#include "sched/mutex.h"

namespace weft::fs {

struct JournalConfig {
  DiskUuid uuid{};
  std::uint64_t log_offset_bytes = 0;  // on the device
  std::uint64_t log_bytes = 0;
  std::uint64_t epoch = 1;
  std::uint64_t next_sequence = 1;
  Lsn next_lsn{1};
  std::uint64_t buffer_bytes = 16 << 20;  // transactions in memory: pending, being written, and laid out as records
  Metrics* metrics = nullptr;             // null: default_metrics()
};

// Where the log stands at one instant: what a checkpoint taken there says in its superblock.
struct JournalMark {
  std::uint64_t position = 0;
  std::uint64_t sequence = 0;
  Lsn next_lsn;
};

struct JournalCounts {
  std::uint64_t records = 0;       // fillers too
  std::uint64_t transactions = 0;  // in them
  std::uint64_t bytes = 0;         // written, fill included
  std::uint64_t flushes = 0;
};

class Journal {
 public:
  Journal(BlockDevice& device, const JournalConfig& config);
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // -- Room. `transaction_bytes` is the most that the transaction's bytes will come to. Calls `make_room` (without locks) where
  // there is none; that starts or does a checkpoint, returns, and is called again as long as there is still no room.
  Result<LogRoom> reserve(std::uint64_t transaction_bytes, FunctionRef<Status()> make_room);
  // Parks until room may have been made, or a while has passed.
  void wait_for_room();
  [[nodiscard]] std::uint64_t largest_transaction_bytes() const noexcept { return largest_transaction_bytes_; }
  [[nodiscard]] bool wants_checkpoint() const;  // more than half full

  // -- Committing. append() is called under the exclusive tree lock, in the order of application. Does not park.
  Lsn append(std::span<const std::byte> transaction, LogRoom room);
  // Writes what is pending, without a flush, if there is much of it.
  Status write_out_if_much();
  Status make_durable(Lsn lsn);
  // Every transaction up to `lsn` is in records that the device has taken: a process that dies no longer takes them along, a
  // machine may. Says nothing of data in flight.
  Status make_written(Lsn lsn);
  [[nodiscard]] Lsn committed() const noexcept { return Lsn(committed_.load(std::memory_order_acquire)); }
  [[nodiscard]] Lsn durable() const noexcept { return Lsn(durable_.load(std::memory_order_acquire)); }

  // -- Checkpoints. mark() under the exclusive tree lock: all that was appended is in the checkpoint. checkpointed() once its
  // superblock is durable: the log before the mark is free, and pending transactions before it need not be written at all.
  JournalMark mark() const;
  void checkpointed(const JournalMark& mark, CheckpointNo checkpoint);
  [[nodiscard]] std::uint64_t epoch() const noexcept { return config_.epoch; }
  [[nodiscard]] std::uint64_t offset_of(std::uint64_t position) const noexcept { return position % config_.log_bytes; }

  // Data that may be mapped before it is on the device.
  [[nodiscard]] DataInFlight& data_in_flight() noexcept { return data_in_flight_; }

  // A flush of the device for whoever needs one, of the data in flight by now, too. Flushes exclude each other, and none is believed
  // after one has failed: on a device that reports a loss to one of two flushes only, the other would vouch for what is gone. Parks.
  Status flush_device() { return flush_device(data_in_flight_.now()); }

  // -- Failure: for good. The first reason stays.
  void fail_for_good(Error error);
  [[nodiscard]] std::optional<Error> failure() const;
  [[nodiscard]] bool failed() const noexcept { return failed_.load(std::memory_order_acquire); }

  [[nodiscard]] JournalCounts counts() const;

 private:
  friend class LogRoom;
  // A record (or filler) with its place.
  struct Planned {
    std::uint64_t position;
    std::uint64_t sequence;
    std::uint64_t first_lsn;
    std::size_t from;  // its transactions' bytes within the batch
    std::size_t bytes;
    std::uint32_t transactions;
    std::uint32_t stored_bytes;
  };

  [[nodiscard]] std::uint64_t cost(std::uint64_t transaction_bytes) const noexcept;
  [[nodiscard]] bool has_room(std::uint64_t bytes) const noexcept;
  void release(std::uint64_t bytes) noexcept;
  Status flush_device(DataInFlight::Moment data_until);
  Status lead(std::unique_lock<sched::Mutex>& lock, bool flush);
  std::vector<Planned> plan(std::span<const std::byte> batch, std::uint64_t first_lsn);
  Status write_records(std::span<const Planned> planned, std::span<const std::byte> batch, std::uint64_t flushed,
                       CheckpointNo checkpoint);

  // counts() for all who look from outside.
  struct Meters {
    explicit Meters(Metrics& metrics);
    Counter& records;
    Counter& transactions;
    Counter& bytes;
    Counter& flushes;
    Histogram& group;
  };

  BlockDevice& device_;
  const JournalConfig config_;
  Meters meters_;
  const std::uint64_t unit_bytes_;
  const std::uint64_t largest_transaction_bytes_;
  const std::uint64_t largest_record_bytes_;
  const std::uint64_t slack_bytes_;       // lost at most where the ring ends
  const std::size_t most_pending_bytes_;  // before others wait for the leader

  DataInFlight data_in_flight_;
  sched::Mutex flush_lock_{kFlushLock};
  mutable sched::Mutex lock_{kJournalLock};
  sched::ConditionVariable led_;        // a leader is done, or the journal has failed
  sched::ConditionVariable room_made_;  // tail_ moved, room was given back, or the journal has failed
  // Guarded by lock_:
  std::vector<std::byte> pending_;
  std::uint64_t pending_first_lsn_;
  std::uint64_t pending_cost_ = 0;
  std::uint64_t reserved_ = 0;
  std::uint64_t head_ = 0;
  std::uint64_t tail_ = 0;
  std::uint64_t next_sequence_;
  std::uint64_t next_lsn_;
  std::uint64_t flushed_sequence_;
  CheckpointNo checkpoint_;  // newest durable
  bool leading_ = false;
  std::optional<Error> failure_;
  JournalCounts counts_;
  // The leader's own:
  std::vector<std::byte> batch_;
  AlignedBuffer buffer_;

  std::atomic<std::uint64_t> committed_;
  std::atomic<std::uint64_t> written_;  // in records that the device has taken, or in a durable checkpoint
  std::atomic<std::uint64_t> durable_;
  std::atomic<bool> failed_{false};
};

}  // namespace weft::fs
