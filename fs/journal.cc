#include "fs/journal.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>

#include "fs/format_check.h"
#include "kernel/check.h"
#include "kernel/log.h"
#include "kernel/planted_bug.h"
#include "kernel/trace.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

// Pending bytes beyond this are written without waiting for somebody to ask for a flush.
constexpr std::size_t kMuchPendingBytes = 1 << 20;
// As much of a batch is laid out in memory and handed to the device at a time, one record at least.
constexpr std::size_t kWriteBufferBytes = 4 << 20;

std::uint32_t transaction_length(std::span<const std::byte> bytes) noexcept {
  DiskTransaction header;
  std::memcpy(&header, bytes.data(), sizeof(header));
  return header.length_bytes;
}

}  // namespace

void LogRoom::release() noexcept {
  if (journal_ != nullptr) std::exchange(journal_, nullptr)->release(std::exchange(bytes_, 0));
}

Journal::Meters::Meters(Metrics& metrics)
    : records(metrics.counter("fs.journal.records", "records written, fillers too")),
      transactions(metrics.counter("fs.journal.transactions", "transactions in them")),
      bytes(metrics.counter("fs.journal.bytes", "bytes of them, fill included")),
      flushes(metrics.counter("fs.journal.flushes", "flushes that made transactions durable")),
      group(metrics.histogram("fs.journal.group", "transactions that shared a flush")) {}

Journal::Journal(BlockDevice& device, const JournalConfig& config)
    : device_(device),
      config_(config),
      meters_(metrics_or_default(config.metrics)),
      unit_bytes_(std::max<std::uint64_t>(kLogUnitBytes, device.geometry().alignment_bytes)),
      largest_transaction_bytes_(std::min<std::uint64_t>(kMaxTransactionBytes, config.log_bytes / 8)),
      largest_record_bytes_(std::min<std::uint64_t>(kMaxRecordBytes, round_down(config.log_bytes / 4, unit_bytes_))),
      slack_bytes_(round_up(largest_transaction_bytes_ + sizeof(DiskRecord), unit_bytes_)),
      most_pending_bytes_(std::max<std::size_t>(config.buffer_bytes / 4, kMuchPendingBytes)),
      pending_first_lsn_(config.next_lsn.value()),
      next_sequence_(config.next_sequence),
      next_lsn_(config.next_lsn.value()),
      flushed_sequence_(config.next_sequence - 1),
      committed_(config.next_lsn.value() - 1),
      written_(config.next_lsn.value() - 1),
      durable_(config.next_lsn.value() - 1) {
  WEFT_CHECK(config.log_bytes >= std::uint64_t{kMinLogBlocks} * kBlockBytes && config.log_bytes % unit_bytes_ == 0);
}

// ---------------------------------------------------------------------------------------------------------- room

// The most of the log that a transaction can take: a record of its own, filled up to the unit.
std::uint64_t Journal::cost(std::uint64_t transaction_bytes) const noexcept {
  return transaction_bytes + sizeof(DiskRecord) + unit_bytes_;
}

bool Journal::has_room(std::uint64_t bytes) const noexcept {
  return head_ - tail_ + pending_cost_ + reserved_ + slack_bytes_ + bytes <= config_.log_bytes;
}

Result<LogRoom> Journal::reserve(std::uint64_t transaction_bytes, FunctionRef<Status()> make_room) {
  if (transaction_bytes > largest_transaction_bytes_) {
    return fail(Errc::kNoSpace, fmt::format("a transaction of up to {} bytes; this volume's log takes {}",
                                            transaction_bytes, largest_transaction_bytes_));
  }
  const std::uint64_t bytes = cost(transaction_bytes);
  std::unique_lock lock(lock_);
  // Where nobody leads, the next commit will, for this much.
  while (leading_ && pending_.size() > most_pending_bytes_ && !failure_) led_.wait(lock);
  while (!has_room(bytes)) {
    if (failure_) return fail(*failure_);
    lock.unlock();
    TRY(make_room());
    lock.lock();
  }
  if (failure_) return fail(*failure_);
  reserved_ += bytes;
  return LogRoom(*this, bytes);
}

void Journal::wait_for_room() {
  std::unique_lock lock(lock_);
  const std::uint64_t tail = tail_;
  const std::uint64_t reserved = reserved_;
  // The limit is for room that somebody took again before we looked.
  room_made_.wait_for(lock, std::chrono::milliseconds(100),
                      [&] { return tail_ != tail || reserved_ < reserved || failure_.has_value(); });
}

void Journal::release(std::uint64_t bytes) noexcept {
  {
    std::unique_lock lock(lock_);
    WEFT_CHECK(reserved_ >= bytes);
    reserved_ -= bytes;
  }
  room_made_.notify_all();
}

bool Journal::wants_checkpoint() const {
  std::unique_lock lock(lock_);
  return head_ - tail_ + pending_cost_ > config_.log_bytes / 2;
}

// ---------------------------------------------------------------------------------------------------- committing

Lsn Journal::append(std::span<const std::byte> transaction, LogRoom room) {
  std::unique_lock lock(lock_);
  const std::uint64_t bytes = cost(transaction.size());
  WEFT_CHECK(room.journal_ == this && bytes <= room.bytes_);  // TransactionNeeds were too low
  reserved_ -= room.bytes_;
  room.journal_ = nullptr;
  pending_cost_ += bytes;
  if (pending_.empty()) pending_first_lsn_ = next_lsn_;
  pending_.insert(pending_.end(), transaction.begin(), transaction.end());
  const std::uint64_t lsn = next_lsn_++;
  committed_.store(lsn, std::memory_order_release);
  return Lsn(lsn);
}

Status Journal::write_out_if_much() {
  std::unique_lock lock(lock_);
  if (pending_.size() < kMuchPendingBytes || leading_) return {};
  if (failure_) return fail(*failure_);
  return lead(lock, false);
}

Status Journal::make_durable(Lsn lsn) {
  if ((durable() >= lsn && !failed()) || planted(Bug::kAcknowledgedUnwritten)) return {};
  std::unique_lock lock(lock_);
  if (failure_) return fail(*failure_);  // J4: not even of what was durable before
  // Of what was never committed nobody can wait.
  const std::uint64_t wanted = std::min(lsn.value(), next_lsn_ - 1);
  while (durable_.load(std::memory_order_relaxed) < wanted) {
    if (failure_) return fail(*failure_);
    if (leading_) {
      led_.wait(lock);
    } else {
      TRY(lead(lock, true));
    }
  }
  return {};
}

Status Journal::make_written(Lsn lsn) {
  if (written_.load(std::memory_order_acquire) >= lsn.value()) return {};
  std::unique_lock lock(lock_);
  const std::uint64_t wanted = std::min(lsn.value(), next_lsn_ - 1);
  while (written_.load(std::memory_order_relaxed) < wanted) {
    if (failure_) return fail(*failure_);
    if (leading_) {
      led_.wait(lock);
    } else {
      TRY(lead(lock, false));
    }
  }
  return {};
}

// Places the transactions of `batch` in records behind head_, which it moves.
std::vector<Journal::Planned> Journal::plan(std::span<const std::byte> batch, std::uint64_t first_lsn) {
  std::vector<Planned> planned;
  std::size_t at = 0;
  std::uint64_t lsn = first_lsn;
  while (at < batch.size()) {
    const std::uint64_t room = config_.log_bytes - offset_of(head_);
    const std::uint64_t most = std::min(room, largest_record_bytes_);
    Planned record{head_, next_sequence_++, lsn, at, 0, 0, 0};
    while (at < batch.size()) {
      const std::uint32_t length = transaction_length(batch.subspan(at));
      if (round_up(sizeof(DiskRecord) + record.bytes + length, unit_bytes_) > most) break;
      record.bytes += length;
      at += length;
      ++record.transactions;
      ++lsn;
    }
    if (record.transactions == 0) {  // a filler: the next record stands at the start of the ring
      record.stored_bytes = static_cast<std::uint32_t>(unit_bytes_);
      head_ += room;
    } else {
      record.stored_bytes = static_cast<std::uint32_t>(round_up(sizeof(DiskRecord) + record.bytes, unit_bytes_));
      head_ += record.stored_bytes;
    }
    planned.push_back(record);
  }
  WEFT_CHECK(head_ - tail_ <= config_.log_bytes);  // J1
  return planned;
}

Status Journal::write_records(std::span<const Planned> planned, std::span<const std::byte> batch, std::uint64_t flushed,
                              CheckpointNo checkpoint) {
  std::size_t next = 0;
  const std::size_t at_a_time = std::min<std::size_t>(kWriteBufferBytes, most_pending_bytes_);
  while (next < planned.size()) {
    std::size_t total = 0;
    std::size_t end = next;
    while (end < planned.size() && (end == next || total + planned[end].stored_bytes <= at_a_time)) {
      total += planned[end++].stored_bytes;
    }
    if (buffer_.size() < total) buffer_ = AlignedBuffer(total);
    std::vector<iovec> vectors;
    std::vector<BlockIo> requests;
    vectors.reserve(end - next);  // requests keep spans of it
    std::span<std::byte> free = buffer_.bytes();
    std::uint64_t expected = ~std::uint64_t{0};
    for (; next < end; ++next) {
      const Planned& plan = planned[next];
      DiskRecord header{};
      header.magic = kRecordMagic;
      header.uuid = config_.uuid;
      header.epoch = config_.epoch;
      header.sequence = plan.sequence;
      header.first_lsn = plan.first_lsn;
      header.flushed_sequence = planted(Bug::kClaimsFlushed) ? plan.sequence : flushed;
      header.length_bytes = static_cast<std::uint32_t>(sizeof(DiskRecord) + plan.bytes);
      header.transactions = plan.transactions;
      header.checkpoint = checkpoint.value();
      header.stored_bytes = plan.stored_bytes;
      const std::span<std::byte> record = free.first(plan.stored_bytes);
      free = free.subspan(plan.stored_bytes);
      std::memcpy(record.data(), &header, sizeof(header));
      if (plan.bytes != 0) std::memcpy(record.data() + sizeof(header), batch.data() + plan.from, plan.bytes);
      std::memset(record.data() + header.length_bytes, 0, plan.stored_bytes - header.length_bytes);
      const le32 crc = crc_with_hole(record.first(header.length_bytes), offsetof(DiskRecord, crc));
      std::memcpy(record.data() + offsetof(DiskRecord, crc), &crc, sizeof(crc));
      const std::uint64_t offset = config_.log_offset_bytes + offset_of(plan.position);
      if (offset == expected) {  // behind the one before, in memory as on the device
        vectors.back().iov_len += plan.stored_bytes;
        requests.back().length_bytes += plan.stored_bytes;
      } else {
        vectors.push_back({record.data(), plan.stored_bytes});
        requests.push_back({BlockOp::kWrite, offset, plan.stored_bytes, std::span<const iovec>(&vectors.back(), 1)});
      }
      expected = offset + plan.stored_bytes;
    }
    TRY(device_.run(requests));
  }
  return {};
}

// Writes all that is pending, and flushes if so asked. Lets go of the lock meanwhile; only one at a time.
Status Journal::lead(std::unique_lock<sched::Mutex>& lock, bool flush) {
  leading_ = true;
  batch_.clear();
  std::swap(batch_, pending_);
  const std::uint64_t last_lsn = next_lsn_ - 1;
  const std::vector<Planned> planned = plan(batch_, pending_first_lsn_);
  pending_cost_ = 0;
  const std::uint64_t last_sequence = next_sequence_ - 1;
  const std::uint64_t flushed = flushed_sequence_;
  const CheckpointNo checkpoint = checkpoint_;
  lock.unlock();
  // The data of the batch had begun before it was committed (W1).
  const DataInFlight::Moment data_until = data_in_flight_.now();

  const TraceSpan span("fs.journal.commit");
  Status status = write_records(planned, batch_, flushed, checkpoint);
  if (status && flush) status = flush_device(data_until);

  if (!status)
    fail_for_good(Error(status.error()).with("the log could not be written, the volume is read-only from here on"));

  // One large batch is no reason to keep its room for ever.
  if (batch_.capacity() > 2 * most_pending_bytes_) batch_ = {};

  lock.lock();
  leading_ = false;
  if (status) {
    if (last_lsn > written_.load(std::memory_order_relaxed)) written_.store(last_lsn, std::memory_order_release);
    JournalCounts more{.records = planned.size()};
    for (const Planned& record : planned) more.transactions += record.transactions, more.bytes += record.stored_bytes;
    counts_.records += more.records, meters_.records.add(more.records);
    counts_.transactions += more.transactions, meters_.transactions.add(more.transactions);
    counts_.bytes += more.bytes, meters_.bytes.add(more.bytes);
    // What was shut down meanwhile acknowledges nothing more (J4).
    if (flush) {
      ++counts_.flushes, meters_.flushes.add();
      if (!failure_) {
        flushed_sequence_ = last_sequence;
        if (const std::uint64_t before = durable_.load(std::memory_order_relaxed); last_lsn > before) {
          meters_.group.add(last_lsn - before);
          durable_.store(last_lsn, std::memory_order_release);  // DURABLE HERE: every transaction up to last_lsn
        }
      }
    }
  }
  led_.notify_all();
  if (failure_) {
    room_made_.notify_all();
    return fail(*failure_);
  }
  return {};
}

// --------------------------------------------------------------------------------------------------- checkpoints

JournalMark Journal::mark() const {
  std::unique_lock lock(lock_);
  return {head_, next_sequence_, Lsn(next_lsn_)};
}

void Journal::checkpointed(const JournalMark& mark, CheckpointNo checkpoint) {
  {
    std::unique_lock lock(lock_);
    WEFT_CHECK(mark.position >= tail_ && mark.position <= head_);
    tail_ = mark.position;
    checkpoint_ = checkpoint;
    const std::uint64_t last_lsn = mark.next_lsn.value() - 1;
    if (!failure_ && last_lsn > durable_.load(std::memory_order_relaxed)) {
      durable_.store(last_lsn, std::memory_order_release);
      if (last_lsn > written_.load(std::memory_order_relaxed)) written_.store(last_lsn, std::memory_order_release);
    }
    // What nobody has written yet and the checkpoint holds never goes into the log.
    std::size_t dropped = 0;
    while (dropped < pending_.size() && pending_first_lsn_ < mark.next_lsn.value()) {
      const std::uint32_t length = transaction_length(std::span(pending_).subspan(dropped));
      pending_cost_ -= cost(length);
      dropped += length;
      ++pending_first_lsn_;
    }
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<std::ptrdiff_t>(dropped));
  }
  led_.notify_all();
  room_made_.notify_all();
}

// ------------------------------------------------------------------------------------------------------- failure

Status Journal::flush_device(DataInFlight::Moment data_until) {
  const std::unique_lock lock(flush_lock_);
  data_in_flight_.wait_for(data_until);
  if (auto reason = failure()) return fail(std::move(*reason));
  Status status = device_.flush();
  if (!status) fail_for_good(Error(status.error()).with("a flush failed, the volume is read-only from here on"));
  return status;
}

void Journal::fail_for_good(Error error) {
  {
    std::unique_lock lock(lock_);
    if (!failure_) {
      // Closing and shutting down are nothing to complain of.
      if (error.code() != Errc::kClosed) log_error("%s: %s", device_.name().c_str(), error.message().c_str());
      failure_ = std::move(error);
    }
    failed_.store(true, std::memory_order_release);
  }
  led_.notify_all();
  room_made_.notify_all();
}

std::optional<Error> Journal::failure() const {
  std::unique_lock lock(lock_);
  return failure_;
}

JournalCounts Journal::counts() const {
  std::unique_lock lock(lock_);
  return counts_;
}

}  // namespace weft::fs
