// The journal by itself: what it writes, how often, and what becomes of callers. Reading it back: journal_replay_test.cc.
#include "fs/journal.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <map>
#include <thread>

#include "fs/journal_replay.h"
#include "kernel/memory_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/log_fixture.h"

namespace weft::fs {
namespace {

using test::Log;

constexpr std::uint64_t kDiskBytes = 8 * kMiB;

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

}  // namespace
}  // namespace weft::fs
