#include "kernel/sim_disk.h"

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <set>

#include "kernel/units.h"

namespace weft {
namespace {

struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes{};
  explicit Page(int value = 0) { bytes.fill(static_cast<std::byte>(value)); }
};

Page read(SimDisk& disk, std::uint64_t offset) {
  Page page;
  const auto status = disk.read(offset, page.bytes);
  EXPECT_TRUE(status) << status.error().message();
  return page;
}

TEST(SimDisk, FlushedWritesOutliveAnyPowerCut) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SimDisk disk(1 * kMiB, {.seed = seed});
    ASSERT_TRUE(disk.write(4096, Page(1).bytes));
    ASSERT_TRUE(disk.flush());
    ASSERT_TRUE(disk.write(8192, Page(2).bytes));
    disk.crash();
    EXPECT_EQ(read(disk, 4096).bytes, Page(1).bytes);
  }
}

TEST(SimDisk, UnflushedWriteIsSeenByReadsAndIsAbsentPresentOrTornAfterACrash) {
  bool absent = false;
  bool present = false;
  bool torn = false;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SimDisk disk(1 * kMiB, {.seed = seed});
    ASSERT_TRUE(disk.write(4096, Page(1).bytes));
    ASSERT_TRUE(disk.flush());
    ASSERT_TRUE(disk.write(4096, Page(2).bytes));
    EXPECT_EQ(read(disk, 4096).bytes, Page(2).bytes);
    disk.crash();
    const Page after = read(disk, 4096);
    std::set<int> kinds;
    for (std::size_t sector = 0; sector < 8; ++sector) {
      const std::byte first = after.bytes[sector * 512];
      for (std::size_t i = 0; i < 512; ++i) ASSERT_EQ(after.bytes[sector * 512 + i], first) << "a sector is never torn";
      kinds.insert(static_cast<int>(first));
    }
    absent |= kinds == std::set<int>{1};
    present |= kinds == std::set<int>{2};
    torn |= kinds == std::set<int>{1, 2};
  }
  EXPECT_TRUE(absent && present && torn);
}

TEST(SimDisk, FlushPromisesNothingOfWritesInItsOwnBatch) {
  bool lost = false;
  for (std::uint64_t seed = 1; seed <= 40 && !lost; ++seed) {
    SimDisk disk(1 * kMiB, {.seed = seed});
    Page page(1);
    const iovec vector{page.bytes.data(), 4096};
    const std::array<BlockIo, 2> batch{BlockIo{BlockOp::kWrite, 0, 4096, {&vector, 1}},
                                       BlockIo{BlockOp::kFlush, 0, 0, {}}};
    ASSERT_TRUE(disk.run(batch));
    EXPECT_EQ(disk.unflushed_writes(), 1U);
    disk.crash();
    lost = read(disk, 0).bytes == Page(0).bytes;
  }
  EXPECT_TRUE(lost);
}

TEST(SimDisk, OverlappingUnflushedWritesEndInEitherOrder) {
  std::set<int> winners;
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SimDisk disk(1 * kMiB, {.seed = seed, .absent_percent = 0, .present_percent = 100});
    ASSERT_TRUE(disk.write(0, Page(1).bytes));
    ASSERT_TRUE(disk.write(0, Page(2).bytes));
    disk.crash();
    winners.insert(static_cast<int>(read(disk, 0).bytes[0]));
  }
  EXPECT_EQ(winners, (std::set<int>{1, 2}));
}

TEST(SimDisk, PowerGoesOffInTheMiddleOfTheNthWrite) {
  SimDisk disk(1 * kMiB, {});
  disk.cut_power_at_write(3);
  EXPECT_TRUE(disk.write(0, Page(1).bytes));
  EXPECT_TRUE(disk.write(4096, Page(1).bytes));
  EXPECT_EQ(disk.write(8192, Page(1).bytes).error(), Errc::kClosed);
  EXPECT_FALSE(disk.powered());
  Page page;
  EXPECT_EQ(disk.read(0, page.bytes).error(), Errc::kClosed);
  EXPECT_EQ(disk.flush().error(), Errc::kClosed);
  const auto left = disk.durable_copy().hash();
  disk.restart();
  EXPECT_TRUE(disk.read(0, page.bytes));
  EXPECT_EQ(disk.copy().hash(), left);
  EXPECT_TRUE(disk.write(0, page.bytes));
}

TEST(SimDisk, InterruptedWriteMayBeThereThoughItFailed) {
  bool there = false;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SimDisk disk(1 * kMiB, {.seed = seed});
    disk.cut_power_at_write(1);
    EXPECT_FALSE(disk.write(0, Page(1).bytes));
    disk.restart();
    there |= read(disk, 0).bytes == Page(1).bytes;
  }
  EXPECT_TRUE(there);
}

TEST(SimDisk, RequestCaughtByAPowerCutBeforeItStartsDoesNothingToTheRestartedDisk) {
  SimDisk* under = nullptr;
  SimDisk disk(1 * kMiB, {.before = [&](std::span<const BlockIo> requests) {
                 if (requests[0].op == BlockOp::kWrite) under->crash();
               }});
  under = &disk;
  EXPECT_EQ(disk.write(0, Page(1).bytes).error(), Errc::kClosed);
  EXPECT_EQ(read(disk, 0).bytes, Page(0).bytes);
}

TEST(SimDisk, NthRequestFailsAndThenNoMore) {
  SimDisk disk(1 * kMiB, {});
  disk.inject({.op = BlockOp::kRead, .skip = 1, .times = 1});
  Page page;
  EXPECT_TRUE(disk.read(0, page.bytes));
  EXPECT_EQ(disk.read(0, page.bytes).error(), Errc::kIo);
  EXPECT_TRUE(disk.read(0, page.bytes));
  EXPECT_EQ(disk.counters().reads, 2U);
  EXPECT_EQ(disk.counters().failed, 1U);
  EXPECT_EQ(disk.counters().read_bytes, 8192U);
}

TEST(SimDisk, BadRangeFailsUntilFaultsAreCleared) {
  SimDisk disk(1 * kMiB, {});
  disk.inject({.op = BlockOp::kWrite, .times = SimDisk::kForEver, .offset_bytes = 8192, .length_bytes = 4096});
  EXPECT_TRUE(disk.write(4096, Page(1).bytes));
  EXPECT_TRUE(disk.write(12288, Page(1).bytes));
  EXPECT_FALSE(disk.write(8192, Page(1).bytes));
  EXPECT_FALSE(disk.write(8192, Page(1).bytes));
  disk.clear_faults();
  EXPECT_TRUE(disk.write(8192, Page(1).bytes));
}

TEST(SimDisk, AfterAFailedFlushALaterOneSavesOnlyWhatIsWrittenAnew) {
  bool lost = false;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SimDisk disk(1 * kMiB, {.seed = seed});
    ASSERT_TRUE(disk.write(0, Page(1).bytes));
    disk.inject({.op = BlockOp::kFlush});
    EXPECT_EQ(disk.flush().error(), Errc::kIo);
    ASSERT_TRUE(disk.write(4096, Page(2).bytes));
    ASSERT_TRUE(disk.flush());
    EXPECT_EQ(read(disk, 0).bytes, Page(1).bytes);
    disk.crash();
    EXPECT_EQ(read(disk, 4096).bytes, Page(2).bytes);
    lost |= read(disk, 0).bytes != Page(1).bytes;
  }
  EXPECT_TRUE(lost);
}

TEST(SimDisk, LostAndMisdirectedWritesAreAcknowledged) {
  SimDisk disk(1 * kMiB, {});
  disk.inject({.op = BlockOp::kWrite, .kind = SimDisk::FaultKind::kLost});
  EXPECT_TRUE(disk.write(0, Page(1).bytes));
  EXPECT_EQ(disk.copy().hash(), 0U);
  disk.clear_faults();
  disk.inject({.op = BlockOp::kWrite, .kind = SimDisk::FaultKind::kMisdirected});
  EXPECT_TRUE(disk.write(0, Page(1).bytes));
  EXPECT_EQ(read(disk, 0).bytes[0], std::byte{0});
  EXPECT_NE(disk.copy().hash(), 0U);
}

TEST(SimDisk, LyingFlushSavesNothing) {
  SimDisk disk(1 * kMiB, {.absent_percent = 100, .present_percent = 0});
  disk.inject({.op = BlockOp::kFlush, .kind = SimDisk::FaultKind::kLost});
  EXPECT_TRUE(disk.write(0, Page(1).bytes));
  EXPECT_TRUE(disk.flush());
  disk.crash();
  EXPECT_EQ(read(disk, 0).bytes, Page(0).bytes);
}

TEST(SimDisk, FlippedReadIsWrongOnceAndRotIsWrongForGood) {
  SimDisk disk(1 * kMiB, {});
  ASSERT_TRUE(disk.write(4096, Page(1).bytes));
  ASSERT_TRUE(disk.flush());
  disk.inject({.op = BlockOp::kRead, .kind = SimDisk::FaultKind::kFlipped});
  EXPECT_NE(read(disk, 4096).bytes, Page(1).bytes);
  EXPECT_EQ(read(disk, 4096).bytes, Page(1).bytes);
  EXPECT_EQ(disk.rot_random(), 4096U);
  EXPECT_NE(read(disk, 4096).bytes, Page(1).bytes);
  disk.crash();
  EXPECT_NE(read(disk, 4096).bytes, Page(1).bytes);
}

// Against a model of D2: after each crash every sector holds the value the last flush covered, or one written since.
TEST(SimDisk, EveryCrashLeavesALegalContent) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    constexpr std::uint64_t kSectors = 64;
    SimDisk disk(kSectors * 512, {.seed = seed});
    std::map<std::uint64_t, std::set<int>> legal;  // per sector
    for (std::uint64_t sector = 0; sector < kSectors; ++sector) legal[sector] = {0};
    std::array<int, kSectors> current{};
    int value = 0;
    for (int step = 0; step < 120; ++step) {
      const std::uint64_t what = random.below(20);
      const std::uint64_t first = random.below(kSectors);
      const std::uint64_t count = random.between(1, std::min<std::uint64_t>(8, kSectors - first));
      if (what < 14) {
        const bool discards = what == 0;
        value = value % 250 + 1;
        const int stored = discards ? 0 : value;
        const Page page(value);
        const auto status = discards ? disk.discard(first * 512, count * 512)
                                     : disk.write(first * 512, std::span(page.bytes).first(count * 512));
        ASSERT_TRUE(status) << status.error().message();
        for (std::uint64_t sector = first; sector < first + count; ++sector) {
          current[sector] = stored;
          legal[sector].insert(stored);
        }
      } else if (what < 18) {
        ASSERT_TRUE(disk.flush());
        for (std::uint64_t sector = 0; sector < kSectors; ++sector) legal[sector] = {current[sector]};
      } else {
        disk.crash();
        for (std::uint64_t sector = 0; sector < kSectors; ++sector) {
          alignas(512) std::array<std::byte, 512> bytes;
          ASSERT_TRUE(disk.read(sector * 512, bytes));
          current[sector] = static_cast<int>(bytes[0]);
          ASSERT_TRUE(legal[sector].contains(current[sector])) << "sector " << sector << " step " << step;
          legal[sector] = {current[sector]};
        }
      }
    }
  }
}

TEST(SimDisk, SameSeedLeavesTheSameContent) {
  const auto play = [](std::uint64_t seed) {
    SimDisk disk(1 * kMiB, {.seed = seed});
    for (int i = 0; i < 40; ++i) EXPECT_TRUE(disk.write(static_cast<std::uint64_t>(i) * 4096, Page(i + 1).bytes));
    disk.crash();
    return disk.copy().hash();
  };
  EXPECT_EQ(play(3), play(3));
  EXPECT_NE(play(3), play(4));
}

}  // namespace
}  // namespace weft
