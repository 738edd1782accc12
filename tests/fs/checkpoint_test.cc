// Checkpoints of a volume in use: what goes on meanwhile, what a failed one leaves.
#include "fs/checkpoint.h"

#include <gtest/gtest.h>

#include <thread>

#include "fs/layout.h"
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

TEST(Checkpoint, AFailedCheckpointTurnsItReadOnlyAndLosesNothing) {
  for (const std::uint64_t skip : {0u, 1u}) {
    SimDisk disk(kDiskBytes, {});
    auto volume = make_and_open(disk);
    Workload work(*volume, 6);
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(work.step());
    work.sync();
    disk.inject({.op = BlockOp::kFlush, .kind = SimDisk::FaultKind::kError, .skip = skip});
    EXPECT_FALSE(volume->checkpoint());
    EXPECT_TRUE(volume->failure());
    volume.reset();
    disk.crash();
    volume = open(disk);
    EXPECT_EQ(difference(work.model(), dump(*volume)), "");
  }
}

TEST(Checkpoint, TransactionsGoOnWhileACheckpointIsWritten) {
  for (unsigned at = 0; at < 6; ++at) {
    SCOPED_TRACE("transactions before write batch " + std::to_string(at));
    SimDisk sim(kDiskBytes, {});
    test::HookDisk disk(sim);
    auto volume = make_and_open(disk);
    Workload work(*volume, 8 + at);
    for (int i = 0; i < 60; ++i) ASSERT_TRUE(work.step());
    unsigned batch = 0;
    disk.before = [&](std::span<const BlockIo> requests) {
      if (batch++ != at) return;
      for (int i = 0; i < 20; ++i) ASSERT_TRUE(work.step());
      if (requests[0].op != BlockOp::kFlush) work.sync();  // flushes exclude each other, and this is within one
      for (int i = 0; i < 5; ++i) ASSERT_TRUE(work.step());
    };
    ASSERT_TRUE(volume->checkpoint());
    disk.before = nullptr;
    EXPECT_EQ(difference(work.model(), dump(*volume)), "");
    const std::uint64_t durable = work.sync();
    volume.reset();
    sim.crash();
    volume = open(disk);
    EXPECT_EQ(volume->committed().value(), durable);
    EXPECT_EQ(difference(work.model(), dump(*volume)), "");
    ASSERT_TRUE(volume->close());
    EXPECT_EQ(check_image(disk), "");
  }
}

TEST(Checkpoint, AFullLogIsEmptiedByACheckpoint) {
  for (const bool background : {false, true}) {
    MemoryDisk disk(64 * kMiB);
    ASSERT_TRUE(test::make_fixed_volume(disk, 256 * kKiB));
    VolumeOptions options = quiet();
    options.background = background;
    options.commit_interval_ms = 20;
    auto volume = open(disk, options);
    Workload work(*volume, 9);
    for (int i = 0; i < 1500; ++i) ASSERT_TRUE(work.step());  // some 3 MB of records
    const auto last = work.sync();
    EXPECT_EQ(volume->durable().value(), last);
    volume.reset();
    volume = open(disk);
    EXPECT_EQ(difference(work.model(), dump(*volume)), "");
    ASSERT_TRUE(volume->close());
    EXPECT_EQ(check_image(disk), "");
  }
}

TEST(Checkpoint, TheLossOfAnySuperblockSlotSetsNothingBack) {
  SimDisk disk(kDiskBytes, {});
  auto volume = make_and_open(disk);
  Workload work(*volume, 14);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(work.step());
  for (const bool closed : {false, true}) {
    if (closed) {
      ASSERT_TRUE(volume->close());
    } else {
      ASSERT_TRUE(volume->checkpoint());
      work.sync();
      ASSERT_TRUE(volume->device().flush());
    }
    const Layout layout(test::superblock_of(disk));
    for (std::uint32_t slot = 0; slot < kSuperblockSlots; ++slot) {
      SimDisk copy(disk.durable_copy(), {});
      copy.rot(layout.superblock_slot(slot).value() * kBlockBytes, 300);
      const auto recovered = open(copy);
      EXPECT_EQ(difference(work.model(), dump(*recovered)), "") << "slot " << slot;
    }
  }
}

TEST(Checkpoint, NothingThatTheDurableStateRefersToIsWrittenDuringACheckpoint) {
  MemoryDisk memory(8 * kMiB);
  test::HookDisk disk(memory);
  auto volume = make_and_open(disk);
  Workload work(*volume, 19);
  work.fill();
  work.unmap_filler(0, 200);
  ASSERT_TRUE(volume->checkpoint());
  const test::Model durable = work.model();
  work.unmap_filler(300, 400);
  std::thread taker;
  std::optional<DiskImage> crash;
  disk.before = [&](std::span<const BlockIo> requests) {
    const bool superblock =
        requests[0].op == BlockOp::kWrite && requests[0].length_bytes == kBlockBytes &&
        (requests[0].offset_bytes < 2 * kBlockBytes || requests[0].offset_bytes >= 8 * kMiB - 2 * kBlockBytes);
    if (!superblock || crash) return;
    Lsn seen = volume->committed();
    taker = std::thread([&] { work.fill(); });  // until it waits for this very checkpoint
    do {
      seen = volume->committed();
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    } while (volume->committed() != seen);
    crash = memory.copy();
  };
  ASSERT_TRUE(volume->checkpoint());
  taker.join();
  ASSERT_TRUE(crash);
  MemoryDisk after(*crash);
  volume = open(after);
  EXPECT_EQ(difference(durable, dump(*volume)), "");
  ASSERT_TRUE(volume->close());
  EXPECT_EQ(check_image(after), "");
}

}  // namespace
}  // namespace weft::fs
