#include "kernel/recording_disk.h"

#include <gtest/gtest.h>

#include <array>
#include <set>

#include "kernel/crash_states.h"
#include "kernel/memory_disk.h"
#include "kernel/random.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"

namespace weft {
namespace {

using Survivor = Recording::Survivor;

struct alignas(4096) Page {
  std::array<std::byte, 4096> bytes{};
  explicit Page(int value = 0) { bytes.fill(static_cast<std::byte>(value)); }
};

int at(const DiskImage& image, std::uint64_t offset) {
  std::byte byte{};
  image.read(offset, {&byte, 1});
  return static_cast<int>(byte);
}

struct Bench {
  MemoryDisk memory{64 * kMiB};
  RecordingDisk disk{memory};
  void write(std::uint64_t page, int value) { ASSERT_TRUE(disk.write(page * 4096, Page(value).bytes)); }
};

TEST(RecordingDisk, ContentIsWhatIsDurablePlusTheChosenWrites) {
  Bench bench;
  bench.write(0, 1);
  ASSERT_TRUE(bench.disk.flush());
  bench.write(0, 2);
  bench.write(1, 3);
  const Recording log = bench.disk.finish();
  const std::size_t end = log.events().size();

  EXPECT_EQ(log.unflushed_at(end), (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(at(log.content(end, {}), 0), 1);
  const std::array<Survivor, 1> only_last{Survivor{2}};
  EXPECT_EQ(at(log.content(end, only_last), 0), 1);
  EXPECT_EQ(at(log.content(end, only_last), 4096), 3);
  const std::array<Survivor, 1> torn{Survivor{1, 1, 2}};
  EXPECT_EQ(at(log.content(end, torn), 511), 1);
  EXPECT_EQ(at(log.content(end, torn), 512), 2);
  EXPECT_EQ(at(log.content(end, torn), 1536), 1);
  const std::array<Survivor, 1> hole{Survivor{1, 1, 2, true}};
  EXPECT_EQ(at(log.content(end, hole), 511), 2);
  EXPECT_EQ(at(log.content(end, hole), 512), 1);
  EXPECT_EQ(at(log.content(end, hole), 1536), 2);
}

TEST(RecordingDisk, EarlierPrefixKnowsNothingOfWhatCameLater) {
  Bench bench;
  bench.write(0, 1);
  bench.disk.mark(7, "written");
  ASSERT_TRUE(bench.disk.flush());
  const Recording log = bench.disk.finish();
  using Kind = Recording::EventKind;
  std::vector<Kind> kinds;
  for (const auto& event : log.events()) kinds.push_back(event.kind);
  EXPECT_EQ(kinds, (std::vector{Kind::kWriteBegin, Kind::kWriteEnd, Kind::kMark, Kind::kFlushBegin, Kind::kFlushEnd}));
  EXPECT_EQ(log.events()[2].subject, 7U);
  EXPECT_TRUE(log.unflushed_at(0).empty());
  EXPECT_EQ(log.unflushed_at(1).size(), 1U);
  EXPECT_EQ(log.unflushed_at(4).size(), 1U);
  EXPECT_EQ(at(log.durable_at(4), 0), 0);
  EXPECT_TRUE(log.unflushed_at(5).empty());
  EXPECT_EQ(at(log.durable_at(5), 0), 1);
  EXPECT_EQ(log.marks_at(2), 0U);
  EXPECT_EQ(log.marks_at(3), 1U);
}

TEST(RecordingDisk, FlushInTheSameBatchSavesNothingOfIt) {
  Bench bench;
  Page page(1);
  const iovec vector{page.bytes.data(), 4096};
  const std::array<BlockIo, 2> batch{BlockIo{BlockOp::kWrite, 0, 4096, {&vector, 1}},
                                     BlockIo{BlockOp::kFlush, 0, 0, {}}};
  ASSERT_TRUE(bench.disk.run(batch));
  const Recording log = bench.disk.finish();
  EXPECT_EQ(log.unflushed_at(log.events().size()).size(), 1U);
}

TEST(RecordingDisk, FailedFlushLeavesItsWritesInDoubtForEver) {
  SimDisk sim(1 * kMiB, {});
  RecordingDisk disk(sim);
  ASSERT_TRUE(disk.write(0, Page(1).bytes));
  sim.inject({.op = BlockOp::kFlush});
  EXPECT_FALSE(disk.flush());
  ASSERT_TRUE(disk.write(4096, Page(2).bytes));
  ASSERT_TRUE(disk.flush());
  ASSERT_TRUE(disk.write(0, Page(3).bytes));
  ASSERT_TRUE(disk.flush());
  const Recording log = disk.finish();
  const std::size_t end = log.events().size();
  const std::array<Survivor, 1> first{Survivor{0}};
  EXPECT_EQ(log.unflushed_at(end), (std::vector<std::size_t>{0}));
  EXPECT_EQ(at(log.content(end, first), 0), 3) << "what was saved since stands";
  EXPECT_EQ(at(log.content(end - 2, first), 0), 1);
  EXPECT_EQ(at(log.content(end - 2, {}), 0), 0);
  EXPECT_EQ(at(log.content(end - 2, {}), 4096), 2);
}

TEST(RecordingDisk, RecordingGoesOnFromThePresentContent) {
  Bench bench;
  bench.write(0, 1);
  (void)bench.disk.finish();
  bench.write(1, 2);
  const Recording log = bench.disk.finish();
  EXPECT_EQ(at(log.durable_at(0), 0), 1);
  EXPECT_EQ(log.writes().size(), 1U);
}

TEST(CrashStates, ThreeUnflushedPagesHaveEightUntornContents) {
  Bench bench;
  for (int page = 0; page < 3; ++page) bench.write(static_cast<std::uint64_t>(page), page + 1);
  const Recording log = bench.disk.finish();
  std::set<std::uint64_t> contents;
  const auto shown = for_each_crash_state(log, {.tears = false}, [&](const CrashState& state) {
    EXPECT_EQ(state.content.hash(), state.hash);
    EXPECT_EQ(log.content(state.prefix, state.survivors).hash(), state.hash);
    contents.insert(state.hash);
    return true;
  });
  EXPECT_EQ(shown, 8U);
  EXPECT_EQ(contents.size(), 8U);
  const auto with_tears = for_each_crash_state(log, {}, [](const CrashState&) { return true; });
  EXPECT_GT(with_tears, 8U);
}

TEST(CrashStates, FlushEndsTheDoubt) {
  Bench bench;
  for (int page = 0; page < 3; ++page) bench.write(static_cast<std::uint64_t>(page), page + 1);
  ASSERT_TRUE(bench.disk.flush());
  bench.disk.mark(1);
  const Recording log = bench.disk.finish();
  std::size_t after_mark = 0;
  for_each_crash_state(log, {}, [&](const CrashState& state) {
    if (log.marks_at(state.prefix) == 1) {
      ++after_mark;
      EXPECT_EQ(state.hash, log.durable_at(log.events().size()).hash());
    }
    return true;
  });
  EXPECT_EQ(after_mark, 1U);
}

TEST(CrashStates, MarkWithoutAFlushShowsTheDoubtAnew) {
  Bench bench;
  bench.write(0, 1);
  bench.disk.mark(1);
  const Recording log = bench.disk.finish();
  bool lost_after_mark = false;
  for_each_crash_state(log, {}, [&](const CrashState& state) {
    lost_after_mark |= log.marks_at(state.prefix) == 1 && at(state.content, 0) == 0;
    return true;
  });
  EXPECT_TRUE(lost_after_mark);
}

TEST(CrashStates, ManyUnflushedWritesAreSampledWithinBounds) {
  Bench bench;
  for (int page = 0; page < 40; ++page) bench.write(static_cast<std::uint64_t>(page) * 3, page + 1);
  const Recording log = bench.disk.finish();
  const auto shown = for_each_crash_state(log, {.exhaustive_up_to = 4, .pairs_up_to = 8, .samples = 4},
                                          [](const CrashState&) { return true; });
  EXPECT_GT(shown, 40U * 40U / 2U);
  EXPECT_LT(shown, 20000U);
  EXPECT_EQ(for_each_crash_state(log, {.most_states = 10}, [](const CrashState&) { return true; }), 10U);
  EXPECT_EQ(for_each_crash_state(log, {}, [](const CrashState&) { return false; }), 1U);
}

// Two independent statements of the same law: what SimDisk leaves is among what the recording allows, sector by sector.
TEST(CrashStates, WhatSimDiskLeavesIsLegalByTheRecording) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    constexpr std::uint64_t kPages = 8;
    SimDisk sim(kPages * 4096, {.seed = seed});
    RecordingDisk disk(sim);
    for (int step = 0; step < 30; ++step) {
      ASSERT_TRUE(random.one_in(5) ? disk.flush() : disk.write(random.below(kPages) * 4096, Page(step + 1).bytes));
    }
    const Recording log = disk.finish();
    sim.crash();
    const DiskImage left = sim.copy();
    const std::size_t end = log.events().size();
    for (std::uint64_t sector = 0; sector < kPages * 8; ++sector) {
      bool legal = at(left, sector * 512) == at(log.durable_at(end), sector * 512);
      for (const std::size_t index : log.unflushed_at(end)) {
        const std::array<Survivor, 1> alone{Survivor{index}};
        const auto& write = log.writes()[index];
        if (write.offset_bytes <= sector * 512 && sector * 512 < write.offset_bytes + write.length_bytes)
          legal |= at(left, sector * 512) == at(log.content(end, alone), sector * 512);
      }
      EXPECT_TRUE(legal) << "sector " << sector;
    }
  }
}

}  // namespace
}  // namespace weft
