// The volume as its callers see it: what survives, what is counted, what is refused.
#include "fs/volume.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "fs/aligned_buffer.h"
#include "fs/journal_replay.h"
#include "fs/layout.h"
#include "fs/superblock.h"
#include "kernel/memory_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"
#include "tests/fs/hook_disk.h"
#include "tests/fs/volume_workload.h"

namespace weft::fs {
namespace {

using test::check_image;
using test::difference;
using test::dump;
using test::make_and_open;
using test::open;
using test::quiet;
using test::Workload;

constexpr std::uint64_t kDiskBytes = 16 * kMiB;

TEST(Volume, ANewOneHasARootDirectoryAndNothingElse) {
  MemoryDisk disk(kDiskBytes);
  auto volume = make_and_open(disk);
  bool seen = false;
  const auto found = volume->get(Key(kRootInode, KeyKind::kInode, 0),
                                 [&](std::span<const std::byte> value) { seen = value.size() == sizeof(DiskInode); });
  ASSERT_TRUE(found);
  EXPECT_TRUE(*found && seen);
  EXPECT_TRUE(dump(*volume).empty());
  EXPECT_EQ(volume->space().inode_count, 1u);
  EXPECT_EQ(volume->label(), "test");
  EXPECT_GE(volume->new_inode().value(), kFirstFreeInode);
  EXPECT_TRUE(volume->close());
  EXPECT_TRUE(volume->close());
  EXPECT_EQ(check_image(disk), "");
}

TEST(Volume, WhatWasWrittenOutlivesTheProcessWithoutAFlush) {
  MemoryDisk memory(kDiskBytes);
  test::HookDisk disk(memory);
  auto volume = make_and_open(disk);
  const auto commit = [&](std::uint64_t number) {
    Transaction transaction = volume->begin(Intent::kSetXattr, InodeNo(number), {}).value();
    transaction.put(test::test_key(number), {});
    return volume->commit(std::move(transaction)).value();
  };
  const std::uint64_t flushes = disk.flushes;
  EXPECT_TRUE(volume->make_written(commit(1)));
  const std::uint64_t writes = disk.writes;
  EXPECT_TRUE(volume->make_written(volume->committed()));
  EXPECT_EQ(disk.writes, writes) << "it is";
  commit(2);
  EXPECT_EQ(disk.flushes, flushes);
  volume.reset();
  volume = open(disk);
  EXPECT_TRUE(*volume->get(test::test_key(1), [](auto) {}));
  EXPECT_FALSE(*volume->get(test::test_key(2), [](auto) {}));
}

TEST(Volume, WhatWasDurableIsThereAfterACrash) {
  SimDisk disk(kDiskBytes, {});
  auto volume = make_and_open(disk);
  Workload work(*volume, 1);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(work.step());
  const std::uint64_t durable = work.sync();
  volume.reset();
  disk.crash();
  volume = open(disk);
  EXPECT_EQ(volume->committed().value(), durable);
  EXPECT_EQ(difference(work.model(), dump(*volume)), "");
  ASSERT_TRUE(volume->close());
  EXPECT_EQ(check_image(disk), "");
}

TEST(Volume, WhatWasOnlyCommittedIsGoneAfterACrashButClosingKeepsIt) {
  SimDisk disk(kDiskBytes, {});
  auto volume = make_and_open(disk);
  Workload work(*volume, 2);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(work.step());
  volume.reset();
  disk.crash();
  volume = open(disk);
  EXPECT_TRUE(dump(*volume).empty());
  Workload again(*volume, 3);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(again.step());
  ASSERT_TRUE(volume->close());
  volume.reset();
  disk.crash();
  EXPECT_EQ(check_image(disk), "");
  volume = open(disk);
  EXPECT_EQ(difference(again.model(), dump(*volume)), "");
}

TEST(Volume, ASyncCostsOneFlushAndOneWriteOfTheLog) {
  MemoryDisk memory(kDiskBytes);
  test::HookDisk disk(memory);
  auto volume = make_and_open(disk);
  Workload work(*volume, 4);
  for (int i = 0; i < 20; ++i) {
    const Lsn before = volume->committed();
    ASSERT_TRUE(work.step());                     // writes its data, if any
    if (volume->committed() == before) continue;  // had nothing to erase
    const auto flushes = disk.flushes.load();
    const auto writes = disk.writes.load();
    work.sync();
    EXPECT_EQ(disk.flushes - flushes, 1u);
    EXPECT_EQ(disk.writes - writes, 1u);
    ASSERT_TRUE(volume->make_durable(volume->committed()));
    EXPECT_EQ(disk.flushes - flushes, 1u);
  }
}

TEST(Volume, ManyCommittersShareFlushes) {
  MemoryDisk memory(kDiskBytes);
  test::HookDisk disk(memory);
  auto volume = make_and_open(disk, 2 * kMiB);
  constexpr unsigned kThreads = 8;
  constexpr unsigned kEach = 20;
  std::atomic<unsigned> commits[kThreads] = {};
  std::atomic<Lsn> newest[kThreads] = {};
  // A flush takes until everybody has something for the next, so that nobody needs more than two.
  disk.before = [&](std::span<const BlockIo> requests) {
    if (requests[0].op != BlockOp::kFlush) return;
    for (unsigned thread = 0; thread < kThreads; ++thread) {
      while (commits[thread] < kEach && newest[thread].load() <= volume->durable()) std::this_thread::yield();
    }
  };
  const auto before = disk.flushes.load();
  std::vector<std::thread> threads;
  for (unsigned thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (unsigned i = 0; i < kEach; ++i) {
        Transaction transaction = volume->begin(Intent::kOther, InodeNo(1), {}).value();
        const std::byte value[16]{};
        transaction.put(test::test_key(thread * kEach + i), value);
        const auto lsn = volume->commit(std::move(transaction));
        ASSERT_TRUE(lsn);
        newest[thread] = *lsn;
        ++commits[thread];
        ASSERT_TRUE(volume->make_durable(*lsn));
        ASSERT_GE(volume->durable(), *lsn);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  disk.before = nullptr;
  const double per_operation = static_cast<double>(disk.flushes - before) / (kThreads * kEach);
  RecordProperty("flushes_per_operation", std::to_string(per_operation));
  EXPECT_LE(per_operation, 0.3);
  volume.reset();
  volume = open(disk);
  EXPECT_EQ(dump(*volume).size(), kThreads * kEach);
}

TEST(Volume, ATransactionThatIsDroppedLeavesNoTrace) {
  MemoryDisk disk(kDiskBytes);
  auto volume = make_and_open(disk);
  const auto before = volume->space();
  for (int i = 0; i < 500; ++i) {
    TransactionNeeds needs;
    needs.data_blocks = 100;
    Transaction transaction = volume->begin(Intent::kOther, InodeNo(1), needs).value();
    ASSERT_TRUE(transaction.allocate(BlockNo{}, 100));
    transaction.put(test::test_key(1), {});
  }
  EXPECT_EQ(volume->space().available_blocks, before.available_blocks);
  EXPECT_TRUE(dump(*volume).empty());
}

TEST(Volume, AFailedFlushTurnsItReadOnlyAndAcknowledgesNothingMore) {
  SimDisk disk(kDiskBytes, {});
  auto volume = make_and_open(disk);
  Workload work(*volume, 5);
  ASSERT_TRUE(work.step());
  disk.inject({.op = BlockOp::kFlush, .kind = SimDisk::FaultKind::kError});
  EXPECT_FALSE(volume->make_durable(volume->committed()));
  EXPECT_TRUE(volume->read_only());
  EXPECT_FALSE(volume->make_durable(volume->committed())) << "although flushes work again";
  EXPECT_FALSE(volume->begin(Intent::kOther, InodeNo(1), {}));
  EXPECT_FALSE(volume->checkpoint());
  EXPECT_FALSE(volume->close());
  volume.reset();
  disk.crash();
  EXPECT_TRUE(open(disk));
}

TEST(Volume, AfterAShutDownNothingIsWritten) {
  MemoryDisk memory(kDiskBytes);
  test::HookDisk disk(memory);
  auto volume = make_and_open(disk);
  Workload work(*volume, 7);
  ASSERT_TRUE(work.step());
  const auto writes = disk.writes.load();
  volume->shut_down();
  const auto status = volume->make_durable(volume->committed());
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::kClosed);
  EXPECT_FALSE(volume->checkpoint());
  volume.reset();
  EXPECT_EQ(disk.writes, writes);
}

TEST(Volume, CommittedTransactionsBecomeDurableWithinTheInterval) {
  MemoryDisk disk(kDiskBytes);
  ASSERT_TRUE(test::make_fixed_volume(disk));
  VolumeOptions options = quiet();
  options.background = true;
  options.commit_interval_ms = 5;
  auto volume = open(disk, options);
  Workload work(*volume, 10);
  ASSERT_TRUE(work.step());
  for (int i = 0; i < 1000 && volume->durable() < volume->committed(); ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  EXPECT_EQ(volume->durable(), volume->committed());
  EXPECT_TRUE(volume->close());
}

TEST(Volume, WhenFullItSaysSoAndDeletingMakesItUsableAgain) {
  for (const std::uint64_t size : {kMinVolumeBytes, std::uint64_t{8} * kMiB}) {
    SCOPED_TRACE(size);
    MemoryDisk disk(size);
    auto volume = make_and_open(disk);
    for (int round = 0; round < 3; ++round) {
      Workload work(*volume, 11);
      work.forget_history();
      int transactions = 0;
      while (work.put_many(8, 1000)) ASSERT_LT(++transactions, 10'000);
      ASSERT_FALSE(volume->failure()) << volume->failure()->message();
      EXPECT_GT(transactions, 20);
      work.clear();
      ASSERT_FALSE(testing::Test::HasFatalFailure());
      EXPECT_TRUE(dump(*volume).empty());
      EXPECT_TRUE(work.step());
      work.clear();
    }
    ASSERT_TRUE(volume->close());
    EXPECT_EQ(check_image(disk), "");
  }
}

TEST(Volume, AReadOnlyMountReplaysWithoutWriting) {
  MemoryDisk memory(kDiskBytes);
  auto volume = make_and_open(memory);
  Workload work(*volume, 12);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(work.step());
  work.sync();
  volume.reset();
  memory.set_read_only(true);
  const std::uint64_t hash = memory.copy().hash();
  EXPECT_EQ(Volume::open(memory, quiet()).error().code(), Errc::kReadOnly);
  VolumeOptions options = quiet();
  options.read_only = true;
  volume = open(memory, options);
  EXPECT_TRUE(volume->read_only());
  EXPECT_EQ(difference(work.model(), dump(*volume)), "");
  EXPECT_EQ(volume->begin(Intent::kOther, InodeNo(1), {}).error().code(), Errc::kReadOnly);
  EXPECT_TRUE(volume->close());
  EXPECT_EQ(memory.copy().hash(), hash);
}

TEST(Volume, RotInAcknowledgedRecordsIsRefusedForWritingAndShownReadOnly) {
  SimDisk disk(kDiskBytes, {});
  auto volume = make_and_open(disk);
  Workload work(*volume, 13);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(work.step());
    work.sync();
  }
  volume.reset();
  const Layout layout(test::superblock_of(disk));
  disk.rot(layout.log_offset_bytes() + 16, 40, 3);  // in the header of the first record
  const auto refused = Volume::open(disk, quiet());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Errc::kCorrupt);
  EXPECT_NE(refused.error().message().find("acknowledged"), std::string::npos) << refused.error().message();
  VolumeOptions options = quiet();
  options.read_only = true;
  volume = open(disk, options);
  EXPECT_TRUE(dump(*volume).empty());
}

TEST(Volume, LeftoversOfAnEarlierLogAreNeverTakenForNewOnes) {
  SimDisk disk(kDiskBytes, {});
  auto volume = make_and_open(disk);
  Workload work(*volume, 15);
  for (int life = 0; life < 6; ++life) {
    for (int i = 0; i < 10 + life; ++i) {
      ASSERT_TRUE(work.step());
      if (i % 3 == life % 3) work.sync();
    }
    work.sync();
    if (life % 2 == 0) {
      ASSERT_TRUE(volume->close());
    }
    volume.reset();
    disk.crash();
    volume = open(disk);
    ASSERT_EQ(difference(work.model(), dump(*volume)), "") << "life " << life;
    work.go_on_with(*volume);
  }
}

// Two records go out with one flush, the first is lost: legal. The next life writes one of the same size to the same place; were
// its epoch the same, the second of the earlier life would be taken for its successor.
TEST(Volume, ALaterEpochNeverContinuesWithRecordsOfAnEarlierOne) {
  MemoryDisk disk(kDiskBytes);
  auto volume = make_and_open(disk, 256 * kKiB);
  const auto put = [&](std::uint64_t key, unsigned fill) {
    Transaction transaction = volume->begin(Intent::kOther, InodeNo(1), {}).value();
    transaction.put(test::test_key(key), std::vector<std::byte>(1000, std::byte(fill)));
    ASSERT_TRUE(volume->commit(std::move(transaction)));
  };
  for (std::uint64_t i = 0; i < 80; ++i) put(i, 1);
  ASSERT_TRUE(volume->make_durable(volume->committed()));
  const DiskSuperblock superblock = test::superblock_of(disk);
  const Layout layout(superblock);
  const LogPlan plan = read_log(disk, superblock, layout, true).value();
  ASSERT_EQ(plan.records.size(), 2u) << "the test wants two records in one group";
  volume.reset();
  AlignedBuffer zeros(kBlockBytes);
  ASSERT_TRUE(disk.write(layout.log_offset_bytes() + plan.records[0].offset_bytes, zeros.bytes()));
  volume = open(disk);
  ASSERT_TRUE(dump(*volume).empty());
  for (std::uint64_t i = 0; i < plan.records[0].transactions; ++i) put(200 + i, 2);
  ASSERT_TRUE(volume->make_durable(volume->committed()));
  volume.reset();
  volume = open(disk);
  EXPECT_EQ(dump(*volume).size(), plan.records[0].transactions);
}

// V2. A fiber of its own takes all the space it gets while a checkpoint is about to turn the superblock, and what it finds must
// not be what the checkpoint has freed: the power may go now, and the old state needs it.
TEST(Volume, ReplayPutsNoNodeWhereALaterRecordHasData) {
  MemoryDisk disk(kDiskBytes);
  auto volume = make_and_open(disk, kMiB);
  Workload work(*volume, 18);
  for (int i = 0; i < 20; ++i) {  // nodes move on, so that replay, which begins at the front, would choose other places
    ASSERT_TRUE(work.step());
    ASSERT_TRUE(volume->checkpoint());
  }
  const std::uint64_t checkpoint = test::superblock_of(disk).checkpoint;
  work.fill(3200);
  work.sync();
  ASSERT_EQ(test::superblock_of(disk).checkpoint, checkpoint) << "the test wants all of it to be replayed";
  volume.reset();
  volume = open(disk);
  EXPECT_EQ(difference(work.model(), dump(*volume)), "");
  ASSERT_TRUE(volume->close());
  EXPECT_EQ(test::superblock_of(disk).error_count, 0u);
  EXPECT_EQ(check_image(disk), "");
}

TEST(Volume, AVolumeOfManyTebibytesIsMadeMountedAndUsed) {
  MemoryDisk disk(16 * kTiB);
  auto volume = make_and_open(disk);
  Workload work(*volume, 16);
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(work.step());
  work.sync();
  volume.reset();
  volume = open(disk);
  EXPECT_EQ(difference(work.model(), dump(*volume)), "");
  EXPECT_GT(volume->space().available_blocks, 15 * kTiB / kBlockBytes);
  EXPECT_TRUE(volume->close());
}

TEST(Volume, InodeNumbersAreNotGivenTwice) {
  MemoryDisk disk(kDiskBytes);
  auto volume = make_and_open(disk);
  const InodeNo number = volume->new_inode().value();
  Transaction transaction = volume->begin(Intent::kCreate, number, {}).value();
  const DiskInode inode{};
  transaction.put(Key(number, KeyKind::kInode, 0), as_bytes_of(inode));
  ASSERT_TRUE(volume->make_durable(volume->commit(std::move(transaction)).value()));
  EXPECT_EQ(volume->space().inode_count, 2u);
  volume.reset();
  volume = open(disk);
  EXPECT_GT(volume->new_inode().value(), number);
  EXPECT_EQ(volume->space().inode_count, 2u);
}

TEST(Volume, DamageIsRemembered) {
  MemoryDisk disk(kDiskBytes);
  auto volume = make_and_open(disk);
  volume->report_damage(Error(Errc::kCorrupt, "a test found nothing wrong"), false);
  EXPECT_FALSE(volume->read_only());
  ASSERT_TRUE(volume->close());
  EXPECT_EQ(test::superblock_of(disk).state, kStateErrors);
  EXPECT_EQ(test::superblock_of(disk).error_count, 1u);
}

TEST(Volume, TrimDiscardsFreeSpaceAndNothingElse) {
  SimDisk disk(kDiskBytes, {});
  auto volume = make_and_open(disk);
  Workload work(*volume, 17);
  for (int i = 0; i < 60; ++i) ASSERT_TRUE(work.step());
  work.sync();
  const auto bytes = volume->trim(BlockNo(0), kDiskBytes / kBlockBytes, 1);
  ASSERT_TRUE(bytes) << bytes.error().message();
  EXPECT_GT(*bytes, kDiskBytes / 2);
  volume.reset();
  disk.crash();
  volume = open(disk);
  EXPECT_EQ(difference(work.model(), dump(*volume)), "");
  ASSERT_TRUE(volume->close());
  EXPECT_EQ(check_image(disk), "");
}

}  // namespace
}  // namespace weft::fs
