#include "fs/journal_replay.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "fs/aligned_buffer.h"
#include "fs/format_check.h"
#include "fs/log_reader.h"
#include "kernel/crc32c.h"
#include "kernel/planted_bug.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kSearchPasses = 16;

struct Chain {
  LogPlan plan;
  std::uint64_t end_offset = 0;     // where the next record was looked for
  std::uint64_t known_flushed = 0;  // highest sequence that any record vouches for
};

// All transactions of a record, each looked at.
Status check_transactions(const LogReader::Record& record, const Layout& layout) {
  std::span<const std::byte> rest = record.transactions();
  for (std::uint32_t i = 0; i < record.header.transactions; ++i) {
    rest = rest.subspan(TRY(check_transaction(rest, layout)));
  }
  if (!rest.empty()) return fail(Errc::kCorrupt, "bytes behind its last transaction");
  return {};
}

Result<Chain> follow_chain(LogReader& reader, const DiskSuperblock& superblock, const Layout& layout) {
  Chain chain;
  chain.plan.next_sequence = superblock.log_tail_sequence;
  chain.plan.next_lsn = Lsn(superblock.next_lsn.get());
  chain.end_offset = superblock.log_tail_bytes;
  bool first = true;
  // Ends: a record has one sequence, and the next one wanted is always higher.
  for (;;) {
    std::uint64_t offset = chain.end_offset;
    auto record = TRY(reader.record_at(offset));
    if (planted(Bug::kSequenceGap) && !record) {
      offset = TRY(reader.find_magic(offset + kLogUnitBytes, reader.log_bytes()));
      if (offset < reader.log_bytes()) record = TRY(reader.record_at(offset));
      if (record && record->header.epoch == superblock.log_epoch &&
          record->header.sequence > chain.plan.next_sequence) {
        chain.plan.next_sequence = record->header.sequence;
        chain.plan.next_lsn = Lsn(record->header.first_lsn.get());
      }
    }
    if (!record || (record->header.epoch != superblock.log_epoch && !planted(Bug::kEpochNotChecked)) ||
        record->header.sequence != chain.plan.next_sequence)
      break;
    const DiskRecord& header = record->header;
    const auto damage = [&](std::string_view what) {
      chain.plan.damage = Error(Errc::kCorrupt, fmt::format("log record {} at byte {} of the log: {}; run fsck.weft",
                                                            header.sequence.get(), offset, what));
    };
    if (header.checkpoint > superblock.checkpoint) {
      damage(fmt::format(
          "knows checkpoint {}, but the newest superblock that can be read is {}: newer ones have been lost",
          header.checkpoint.get(), superblock.checkpoint.get()));
      break;
    }
    if (auto status = check_transactions(*record, layout); !status) {
      damage(status.error().message());
      break;
    }
    const std::uint64_t expected = chain.plan.next_lsn.value();
    const std::uint64_t end_lsn = header.first_lsn + header.transactions;
    // The first may begin with transactions that the checkpoint already has.
    if (header.transactions != 0 && (header.first_lsn > expected || (!first && header.first_lsn != expected))) {
      damage(fmt::format("begins with transaction {} where {} is due: transactions are missing", header.first_lsn.get(),
                         expected));
      break;
    }
    if (header.transactions != 0) {
      first = false;
      if (end_lsn > expected) chain.plan.next_lsn = Lsn(end_lsn);
      chain.plan.records.push_back({offset, header.sequence, header.first_lsn, header.flushed_sequence,
                                    header.length_bytes, header.transactions});
      if (end_lsn < expected) first = true;  // wholly in the checkpoint
    }
    chain.known_flushed = std::max<std::uint64_t>(chain.known_flushed, header.flushed_sequence);
    ++chain.plan.next_sequence;
    const std::uint64_t next = offset + header.stored_bytes;
    chain.end_offset = header.transactions == 0 || next == reader.log_bytes() ? 0 : next;
  }
  return chain;
}

// Looks for records that prove that the chain did not end where it was written to.
Status search_rest(LogReader& reader, const DiskSuperblock& superblock, Chain& chain) {
  const std::uint64_t missing = chain.plan.next_sequence;
  // A log of ours is summed about once. One forged to be all headers of long records would be summed two thousand times.
  const std::uint64_t enough = reader.summed_bytes() + kSearchPasses * reader.log_bytes();
  const auto search = [&](std::uint64_t from, std::uint64_t to) -> Status {
    for (std::uint64_t at = from; at < to && !chain.plan.damage;) {
      at = TRY(reader.find_magic(at, to));
      if (at >= to) break;
      if (reader.summed_bytes() >= enough) {
        chain.plan.search_cut_short = true;
        break;
      }
      const auto record = TRY(reader.record_at(at));
      if (!record) {
        at += kLogUnitBytes;
        continue;
      }
      const DiskRecord& header = record->header;
      if (header.epoch > superblock.log_epoch ||
          (header.epoch == superblock.log_epoch && header.checkpoint > superblock.checkpoint)) {
        chain.plan.damage = Error(
            Errc::kCorrupt,
            fmt::format("the log holds a record of checkpoint {}, but the newest superblock that can be read is {}: "
                        "newer ones have been lost; run fsck.weft",
                        header.checkpoint.get(), superblock.checkpoint.get()));
      } else if (header.epoch == superblock.log_epoch && header.sequence > missing) {
        ++chain.plan.lost_records;
        if (header.flushed_sequence >= missing) {
          chain.plan.damage = Error(
              Errc::kCorrupt,
              fmt::format(
                  "log record {} at byte {} of the log is unreadable, yet record {} knows it to have been flushed: "
                  "acknowledged changes from transaction {} on are lost; run fsck.weft, or mount read-only to see "
                  "the state before them",
                  missing, chain.end_offset, header.sequence.get(), chain.plan.next_lsn.value()));
        }
      }
      at += header.stored_bytes;
    }
    return {};
  };
  TRY(search(chain.end_offset, reader.log_bytes()));
  return search(0, chain.end_offset);
}

// Whether the blocks on the device are those that the change was made for. An error is the device's.
Result<bool> data_is_there(BlockDevice& device, const ChangeView& change, AlignedBuffer& buffer) {
  const MapView map = map_view(change);
  if (map.checksums.empty()) return true;
  const std::size_t bytes = map.blocks.count * kBlockBytes;
  if (buffer.size() < bytes) buffer = AlignedBuffer(bytes);
  TRY(device.read(map.blocks.start.value() * kBlockBytes, buffer.bytes().first(bytes)));
  for (std::size_t i = 0; i < map.blocks.count; ++i) {
    if (crc32c(buffer.block(i)) != map.checksum(i)) return false;
  }
  return true;
}

Status for_each_transaction(const LogReader::Record& record,
                            FunctionRef<Status(std::span<const std::byte>, std::uint64_t)> visit) {
  std::span<const std::byte> rest = record.transactions();
  for (std::uint32_t i = 0; i < record.header.transactions; ++i) {
    DiskTransaction header;
    if (rest.size() < sizeof(header)) return fail(Errc::kCorrupt, "a log record changed between two reads");
    std::memcpy(&header, rest.data(), sizeof(header));
    if (header.length_bytes < sizeof(header) || header.length_bytes > rest.size()) {
      return fail(Errc::kCorrupt, "a log record changed between two reads");
    }
    TRY(visit(rest.first(header.length_bytes), record.header.first_lsn + i));
    rest = rest.subspan(header.length_bytes);
  }
  return {};
}

// The record at `place`, which read_log() has found there before.
Result<LogReader::Record> read_again(LogReader& reader, const LogRecordPlace& place) {
  const auto record = TRY(reader.record_at(place.offset_bytes));
  if (!record || record->header.sequence != place.sequence) {
    return fail(Errc::kIo, fmt::format("log record {} could be read once, but not again", place.sequence));
  }
  return *record;
}

// Ends the plan at the first record that nobody vouches for and whose data is not on the device.
Status verify_data(BlockDevice& device, LogReader& reader, std::uint64_t next_lsn, Chain& chain) {
  AlignedBuffer buffer;
  LogPlan& plan = chain.plan;
  for (std::size_t i = 0; i < plan.records.size(); ++i) {
    if (plan.records[i].sequence <= chain.known_flushed) continue;
    bool there = true;
    const auto record = TRY(read_again(reader, plan.records[i]));
    TRY(for_each_transaction(record, [&](std::span<const std::byte> transaction, std::uint64_t) -> Status {
      return for_each_change(transaction, [&](const ChangeView& change) -> Status {
        if (there && change.kind == ChangeKind::kMap && (change.flags & kChangeFreshData) != 0) {
          there = TRY(data_is_there(device, change, buffer));
        }
        return {};
      });
    }));
    if (there) continue;
    plan.lost_records += plan.records.size() - i;
    plan.next_lsn = Lsn(std::max<std::uint64_t>(plan.records[i].first_lsn, next_lsn));
    plan.records.resize(i);
    break;
  }
  return {};
}

}  // namespace

Result<LogPlan> read_log(BlockDevice& device, const DiskSuperblock& superblock, const Layout& layout, bool search_all) {
  LogReader reader(device, superblock.uuid, layout);
  Chain chain = TRY(follow_chain(reader, superblock, layout));
  if (!chain.plan.damage && search_all) TRY(search_rest(reader, superblock, chain));
  if (!planted(Bug::kDataNotVerified)) TRY(verify_data(device, reader, superblock.next_lsn, chain));
  if (planted(Bug::kReplayEndsEarly) && !chain.plan.records.empty()) {
    chain.plan.next_lsn = Lsn(std::max<std::uint64_t>(chain.plan.records.back().first_lsn, superblock.next_lsn));
    chain.plan.records.pop_back();
  }
  return std::move(chain.plan);
}

Status replay_log(BlockDevice& device, const DiskSuperblock& superblock, const Layout& layout, const LogPlan& plan,
                  FunctionRef<Status(BlockRange)> hold, FunctionRef<Status(std::span<const std::byte>)> apply) {
  LogReader reader(device, superblock.uuid, layout);
  for (const LogRecordPlace& place : plan.records) {
    const auto record = TRY(read_again(reader, place));
    TRY(for_each_transaction(record, [&](std::span<const std::byte> transaction, std::uint64_t lsn) -> Status {
      if (lsn < superblock.next_lsn) return {};
      return for_each_change(transaction, [&](const ChangeView& change) -> Status {
        return change.kind == ChangeKind::kMap ? hold(map_view(change).blocks) : Status{};
      });
    }));
  }
  for (const LogRecordPlace& place : plan.records) {
    const auto record = TRY(read_again(reader, place));
    TRY(for_each_transaction(record, [&](std::span<const std::byte> transaction, std::uint64_t lsn) -> Status {
      return lsn < superblock.next_lsn ? Status{} : apply(transaction);
    }));
  }
  return {};
}

}  // namespace weft::fs
