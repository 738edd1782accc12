// The journal by itself, and what read_log() makes of what it wrote.
#include "fs/journal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include "fs/journal_replay.h"
#include "fs/layout.h"
#include "kernel/check.h"
#include "kernel/crc32c.h"
#include "kernel/memory_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kDiskBytes = 8 * kMiB;

struct Log {
  explicit Log(BlockDevice& device_in, std::uint64_t log_bytes = 256 * kKiB) : device(device_in) {
    WEFT_CHECK(test::make_fixed_volume(device, log_bytes).has_value());
    superblock = test::superblock_of(device);
    layout = Layout(superblock);
    JournalConfig config;
    config.uuid = superblock.uuid;
    config.log_offset_bytes = layout.log_offset_bytes();
    config.log_bytes = layout.log_bytes();
    config.epoch = superblock.log_epoch;
    journal = std::make_unique<Journal>(device, config);
  }
  // What Volume::begin() and commit() do.
  Lsn commit(std::span<const std::byte> transaction) {
    LogRoom room = journal->reserve(transaction.size(), [&] { return empty(); }).value();
    return journal->append(transaction, std::move(room));
  }
  // A checkpoint, as far as the log is concerned.
  Status empty() {
    const JournalMark mark = journal->mark();
    superblock.log_tail_bytes = journal->offset_of(mark.position);
    superblock.log_tail_sequence = mark.sequence;
    superblock.next_lsn = mark.next_lsn.value();
    superblock.checkpoint = superblock.checkpoint + 1;
    journal->checkpointed(mark, CheckpointNo(superblock.checkpoint.get()));
    ++checkpoints;
    return {};
  }
  LogPlan read() { return read_log(device, superblock, layout, true).value(); }

  BlockDevice& device;
  DiskSuperblock superblock;
  Layout layout;
  std::unique_ptr<Journal> journal;
  int checkpoints = 0;
};

TEST(Journal, WritesOneRecordAndOneFlushForAllThatWasCommitted) {
  SimDisk disk(kDiskBytes, {});
  Log log(disk);
  const auto before = disk.counters();
  Lsn last;
  for (unsigned i = 0; i < 5; ++i) last = log.commit(test::raw_put(20 + i, 100));
  EXPECT_EQ(log.journal->durable(), Lsn(0));
  ASSERT_TRUE(log.journal->make_durable(last));
  EXPECT_EQ(log.journal->durable(), last);
  EXPECT_EQ(disk.counters().writes - before.writes, 1u);
  EXPECT_EQ(disk.counters().flushes - before.flushes, 1u);
  ASSERT_TRUE(log.journal->make_durable(last));
  EXPECT_EQ(disk.counters().flushes - before.flushes, 1u);

  const LogPlan plan = log.read();
  EXPECT_FALSE(plan.damage);
  ASSERT_EQ(plan.records.size(), 1u);
  EXPECT_EQ(plan.records[0].transactions, 5u);
  EXPECT_EQ(plan.next_lsn, Lsn(6));
}

TEST(Journal, WhoCommitsDuringAFlushSharesTheNext) {
  constexpr unsigned kThreads = 8;
  std::atomic<unsigned> appended{0};
  std::atomic<bool> armed{false};
  SimDisk::Options options;
  options.before = [&](std::span<const BlockIo> requests) {
    if (requests[0].op != BlockOp::kFlush || !armed.exchange(false)) return;
    while (appended.load() != kThreads) std::this_thread::yield();  // the first flush waits until all have committed
  };
  SimDisk disk(kDiskBytes, options);
  Log log(disk);
  const auto before = disk.counters().flushes;
  armed = true;
  std::mutex order;
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      Lsn lsn;
      {
        const std::lock_guard lock(order);
        lsn = log.commit(test::raw_put(20 + i, 100));
      }
      ++appended;
      EXPECT_TRUE(log.journal->make_durable(lsn));
      EXPECT_GE(log.journal->durable(), lsn);
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(disk.counters().flushes - before, 2u);
  EXPECT_EQ(log.read().next_lsn, Lsn(kThreads + 1));
}

TEST(Journal, GoesRoundTheRingAndIsReadBackWhereverItWraps) {
  const std::uint64_t seed = 42;
  RecordProperty("seed", std::to_string(seed));
  for (const std::uint32_t alignment : {512u, 4096u}) {
    SCOPED_TRACE("alignment " + std::to_string(alignment));
    Random random(seed);
    MemoryDisk disk(kDiskBytes, alignment);
    Log log(disk);
    for (unsigned round = 0; round < 400; ++round) {
      Lsn last;
      const std::uint64_t count = random.between(1, 20);
      for (std::uint64_t i = 0; i < count; ++i) last = log.commit(test::raw_put(20, random.between(0, kMaxValueBytes)));
      if (random.one_in(4)) continue;
      ASSERT_TRUE(log.journal->make_durable(last));
      if (round % 10 != 0) continue;
      const LogPlan plan = log.read();
      ASSERT_FALSE(plan.damage) << plan.damage->message();
      ASSERT_EQ(plan.next_lsn, last + 1);
    }
    EXPECT_GT(log.checkpoints, 5);
  }
}

TEST(Journal, AFailedFlushIsForGood) {
  SimDisk disk(kDiskBytes, {});
  Log log(disk);
  disk.inject({.op = BlockOp::kFlush, .kind = SimDisk::FaultKind::kError});
  const Lsn lsn = log.commit(test::raw_put(20, 10));
  EXPECT_FALSE(log.journal->make_durable(lsn));
  const auto flushes = disk.counters().flushes;
  EXPECT_FALSE(log.journal->make_durable(lsn)) << "a second flush vouches for nothing";
  EXPECT_EQ(disk.counters().flushes, flushes);
  EXPECT_FALSE(log.journal->reserve(10, [] { return Status{}; }));
  EXPECT_LT(log.journal->durable(), lsn);
}

TEST(Journal, AFailedWriteIsForGood) {
  SimDisk disk(kDiskBytes, {});
  Log log(disk);
  disk.inject({.op = BlockOp::kWrite, .kind = SimDisk::FaultKind::kError});
  EXPECT_FALSE(log.journal->make_durable(log.commit(test::raw_put(20, 10))));
  EXPECT_TRUE(log.journal->failed());
}

TEST(Journal, ATornRecordThatNobodyWasToldOfIsLegalLoss) {
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

TEST(Journal, RotInARecordThatLaterOnesVouchForIsReported) {
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

TEST(Journal, ARecordThatKnowsANewerCheckpointShowsThatASuperblockWasLost) {
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

TEST(Journal, WhatACheckpointHoldsIsNeverWritten) {
  SimDisk disk(kDiskBytes, {});
  Log log(disk);
  const auto before = disk.counters();
  const Lsn first = log.commit(test::raw_put(20, 100));
  ASSERT_TRUE(log.empty());
  EXPECT_EQ(log.journal->durable(), first);
  ASSERT_TRUE(log.journal->make_durable(first));
  EXPECT_EQ(disk.counters().writes, before.writes);
  const Lsn second = log.commit(test::raw_put(21, 100));
  ASSERT_TRUE(log.journal->make_durable(second));
  const LogPlan plan = log.read();
  ASSERT_FALSE(plan.damage) << plan.damage->message();
  ASSERT_EQ(plan.records.size(), 1u);
  EXPECT_EQ(plan.records[0].first_lsn, second.value());
}

TEST(Journal, ARecordMayBeginWithWhatTheCheckpointHas) {
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

TEST(Journal, ATransactionLargerThanTheLogTakesIsRefused) {
  MemoryDisk disk(kDiskBytes);
  Log log(disk);
  const auto room = log.journal->reserve(log.journal->largest_transaction_bytes() + 1, [] { return Status{}; });
  ASSERT_FALSE(room);
  EXPECT_EQ(room.error().code(), Errc::kNoSpace);
}

TEST(Journal, RoomComesBackFromATransactionThatIsDropped) {
  MemoryDisk disk(kDiskBytes);
  Log log(disk);
  for (unsigned i = 0; i < 1000; ++i) {
    ASSERT_TRUE(log.journal->reserve(20'000, [] { return fail(Errc::kNoSpace, "no room"); }));
  }
}

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

TEST(Journal, TheLogEndsAtTheFirstRecordWhoseDataIsNotThere) {
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

TEST(Journal, DataOfARecordKnownToBeFlushedIsNotAskedFor) {
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
