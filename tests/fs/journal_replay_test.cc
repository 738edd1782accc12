// What read_log() makes of a log: where it ends, what is legal loss and what is damage.
#include "fs/journal_replay.h"

#include <gtest/gtest.h>

#include <cstring>

#include "fs/aligned_buffer.h"
#include "kernel/crc32c.h"
#include "kernel/memory_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/log_fixture.h"

namespace weft::fs {
namespace {

using test::Log;

constexpr std::uint64_t kDiskBytes = 8 * kMiB;

// Data that a record maps, and that the crash may have taken.
struct DataRecord {
  explicit DataRecord(Log& log) : at(log.layout.data_start() + 10) {
    std::vector<std::byte> data(2 * kBlockBytes, std::byte(7));
    fill(data);
  }
  void fill(std::span<const std::byte> data) {
    test::RawChange change;
    change.kind = ChangeKind::kMap;
    change.flags = kChangeFreshData;
    change.key = Key(InodeNo(20), KeyKind::kExtent, 0);
    DiskExtent extent{};
    extent.block = at.value();
    extent.birth = 2;
    extent.length = 2;
    test::append_bytes(change.value, extent);
    for (unsigned i = 0; i < 2; ++i)
      test::append_bytes(change.value, le32(crc32c(data.subspan(i * kBlockBytes, kBlockBytes))));
    bytes = test::raw_transaction(std::span(&change, 1));
    content.assign(data.begin(), data.end());
  }
  BlockNo at;
  std::vector<std::byte> content;
  std::vector<std::byte> bytes;
};

TEST(JournalReplay, ATornRecordThatNobodyWasToldOfIsLegalLoss) {
  SimDisk disk(kDiskBytes, {});
  Log log(disk);
  ASSERT_TRUE(log.journal->make_durable(log.commit(test::raw_put(20, 100))));
  const std::uint64_t offset = log.layout.log_offset_bytes() + log.journal->offset_of(log.journal->mark().position);
  ASSERT_TRUE(log.journal->make_durable(log.commit(test::raw_put(21, 1000))));
  disk.rot(offset + 600, 100);  // in its second sector
  const LogPlan plan = log.read();
  EXPECT_FALSE(plan.damage);
  EXPECT_EQ(plan.next_lsn, Lsn(2));
}

TEST(JournalReplay, RotInARecordThatLaterOnesVouchForIsReported) {
  SimDisk disk(kDiskBytes, {});
  Log log(disk);
  std::vector<std::uint64_t> offsets;
  for (unsigned i = 0; i < 4; ++i) {
    offsets.push_back(log.layout.log_offset_bytes() + log.journal->offset_of(log.journal->mark().position));
    ASSERT_TRUE(log.journal->make_durable(log.commit(test::raw_put(20 + i, 100))));
  }
  for (unsigned i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    SimDisk copy(disk.copy(), {});
    copy.rot(offsets[i], 180);
    const LogPlan plan = read_log(copy, log.superblock, log.layout, true).value();
    // The third is vouched for by the fourth; the fourth by nobody.
    ASSERT_TRUE(plan.damage);
    EXPECT_EQ(plan.damage->code(), Errc::kCorrupt);
    EXPECT_NE(plan.damage->message().find("record " + std::to_string(i + 1)), std::string::npos)
        << plan.damage->message();
    EXPECT_EQ(plan.next_lsn, Lsn(i + 1));
  }
}

TEST(JournalReplay, ARecordThatKnowsANewerCheckpointShowsThatASuperblockWasLost) {
  SimDisk disk(kDiskBytes, {});
  Log log(disk);
  const DiskSuperblock older = log.superblock;
  (void)log.commit(test::raw_put(20, 100));
  ASSERT_TRUE(log.empty());
  ASSERT_TRUE(log.journal->make_durable(log.commit(test::raw_put(21, 100))));
  EXPECT_FALSE(log.read().damage);
  const LogPlan plan = read_log(disk, older, log.layout, true).value();
  ASSERT_TRUE(plan.damage);
  EXPECT_NE(plan.damage->message().find("checkpoint 2"), std::string::npos) << plan.damage->message();
}

TEST(JournalReplay, ALogForgedToBeSummedForEverIsNot) {
  MemoryDisk disk(kDiskBytes);
  Log log(disk);
  ASSERT_TRUE(log.journal->make_durable(log.commit(test::raw_put(20, 100))));
  EXPECT_FALSE(log.read().search_cut_short);
  // Behind it each unit says that a record begins there which reaches to the end of the log.
  const std::uint64_t end = log.journal->offset_of(log.journal->mark().position);
  AlignedBuffer rest(round_up(log.layout.log_bytes() - end, kBlockBytes));
  for (std::uint64_t at = end; at < log.layout.log_bytes(); at += kLogUnitBytes) {
    const auto left = static_cast<std::uint32_t>(log.layout.log_bytes() - at);
    DiskRecord record{};
    record.magic = kRecordMagic;
    record.uuid = log.superblock.uuid;
    record.epoch = log.superblock.log_epoch;
    record.sequence = 1000;
    record.transactions = 1;
    record.length_bytes = record.stored_bytes = left;
    std::memcpy(rest.bytes().data() + (at - end), &record, sizeof record);
  }
  ASSERT_TRUE(disk.write(log.layout.log_offset_bytes() + end, rest.bytes().first(log.layout.log_bytes() - end)));
  const LogPlan plan = log.read();
  EXPECT_TRUE(plan.search_cut_short);
  EXPECT_FALSE(plan.damage);
  EXPECT_EQ(plan.next_lsn, Lsn(2));
}

TEST(JournalReplay, ARecordMayBeginWithWhatTheCheckpointHas) {
  MemoryDisk disk(kDiskBytes);
  Log log(disk);
  (void)log.commit(test::raw_put(20, 100));
  const JournalMark mark = log.journal->mark();  // the checkpoint is on its way ...
  const Lsn second = log.commit(test::raw_put(21, 100));
  ASSERT_TRUE(log.journal->make_durable(second));  // ... when somebody wants both
  log.superblock.log_tail_bytes = log.journal->offset_of(mark.position);
  log.superblock.log_tail_sequence = mark.sequence;
  log.superblock.next_lsn = mark.next_lsn.value();
  log.journal->checkpointed(mark, CheckpointNo(2));
  const LogPlan plan = log.read();
  ASSERT_FALSE(plan.damage) << plan.damage->message();
  EXPECT_EQ(plan.next_lsn, Lsn(3));
  int applied = 0;
  ASSERT_TRUE(replay_log(
      disk, log.superblock, log.layout, plan, [](BlockRange) { return Status{}; },
      [&](std::span<const std::byte>) {
        ++applied;
        return Status{};
      }));
  EXPECT_EQ(applied, 1);
}

TEST(JournalReplay, TheLogEndsAtTheFirstRecordWhoseDataIsNotThere) {
  MemoryDisk disk(kDiskBytes);
  Log log(disk);
  ASSERT_TRUE(log.journal->make_durable(log.commit(test::raw_put(20, 100))));
  const DataRecord data(log);
  ASSERT_TRUE(log.journal->make_durable(log.commit(data.bytes)));
  EXPECT_EQ(log.read().next_lsn, Lsn(2));
  AlignedBuffer content(data.content.size());
  std::memcpy(content.bytes().data(), data.content.data(), data.content.size());
  ASSERT_TRUE(disk.write(data.at.value() * kBlockBytes, content.bytes()));
  EXPECT_EQ(log.read().next_lsn, Lsn(3));
}

TEST(JournalReplay, DataOfARecordKnownToBeFlushedIsNotAskedFor) {
  MemoryDisk disk(kDiskBytes);
  Log log(disk);
  const DataRecord data(log);
  ASSERT_TRUE(log.journal->make_durable(log.commit(data.bytes)));
  ASSERT_TRUE(log.journal->make_durable(log.commit(test::raw_put(20, 100))));
  // Were it missing now, that would be rot: reading the file reports it, and dropping acknowledged names would be worse.
  EXPECT_EQ(log.read().next_lsn, Lsn(3));
}

}  // namespace
}  // namespace weft::fs
