// The power goes at every write, with every legal outcome that is cheap to try; the recovered state must be the model's at some
// transaction at or past the last acknowledged one, and the image must be sound. (tests/crash/ does the same to whole file
// systems, and tries more outcomes.)
#include <gtest/gtest.h>

#include <set>
#include <utility>

#include "fs/layout.h"
#include "fs/volume.h"
#include "kernel/crash_states.h"
#include "kernel/memory_disk.h"
#include "kernel/recording_disk.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/fs/fs_fixture.h"
#include "tests/fs/hook_disk.h"
#include "tests/fs/volume_workload.h"

namespace weft::fs {
namespace {

using test::Model;
using History = std::map<std::uint64_t, Model>;

VolumeOptions quiet() {
  VolumeOptions options;
  options.background = false;
  options.clock = &test::fixed_clock();
  return options;
}

// Opens what a crash left; empty when all is as it must be.
std::string recover(BlockDevice& device, const History& history, std::uint64_t acknowledged) {
  auto volume = Volume::open(device, quiet());
  if (!volume) return "does not mount: " + volume.error().message();
  const std::uint64_t at = (*volume)->committed().value();
  if (at < acknowledged)
    return "transaction " + std::to_string(acknowledged) + " was acknowledged, recovered is " + std::to_string(at);
  const auto expected = history.find(at);
  if (expected == history.end()) return "recovered is transaction " + std::to_string(at) + ", which never was";
  if (const std::string wrong = test::difference(expected->second, test::dump(**volume)); !wrong.empty()) {
    return "at transaction " + std::to_string(at) + ": " + wrong;
  }
  if (const auto status = (*volume)->close(); !status) return status.error().message();
  volume->reset();
  return test::check_image(device);
}

struct Recorded {
  Recording recording;
  History history;
};

// One life of a volume with `steps` transactions, synced now and then, and checkpoints in between with transactions going on.
Recorded record(std::uint64_t seed, int steps, std::uint64_t size_bytes, bool nearly_full) {
  Random random(seed);
  MemoryDisk memory(size_bytes);
  EXPECT_TRUE(test::make_fixed_volume(memory));
  Model before;
  if (nearly_full) {
    auto volume = Volume::open(memory, quiet()).value();
    test::Workload work(*volume, seed);
    work.fill();
    work.unmap_filler(random.below(100), 250);  // what is freed is reused at once from now on
    EXPECT_TRUE(volume->close());
    before = work.model();
  }
  RecordingDisk recorder(memory, memory.copy());
  test::HookDisk disk(recorder);
  auto volume = Volume::open(disk, quiet()).value();
  test::Workload work(*volume, seed);
  work.start_from(before);
  const auto sync = [&] { recorder.mark(work.sync()); };
  for (int i = 0; i < steps; ++i) {
    (void)work.step();
    if (random.one_in(3)) sync();
    if (random.one_in(12)) {
      std::uint64_t at = random.below(4);
      disk.before = [&](std::span<const BlockIo> requests) {
        if (at-- != 0) return;
        for (int n = nearly_full ? 20 : 6; n != 0; --n) (void)work.step();
        if (requests[0].op != BlockOp::kFlush) sync();
      };
      EXPECT_TRUE(volume->checkpoint());
      disk.before = nullptr;
      recorder.mark(volume->durable().value());
    }
  }
  sync();
  EXPECT_TRUE(volume->close());
  recorder.mark(volume->committed().value());
  volume.reset();
  return {recorder.finish(), work.history()};
}

std::uint64_t acknowledged_at(const Recording& recording, std::size_t prefix) {
  std::uint64_t lsn = 0;
  for (std::size_t i = 0; i < prefix; ++i) {
    const auto& event = recording.events()[i];
    if (event.kind == Recording::EventKind::kMark) lsn = std::max(lsn, event.subject);
  }
  return lsn;
}

// The outcomes tried for one crash: nothing of what was unflushed, all, each alone, all but each, and each torn three ways with all
// the others.
std::vector<std::vector<Recording::Survivor>> outcomes(const Recording& recording, std::size_t prefix) {
  const std::vector<std::size_t> unflushed = recording.unflushed_at(prefix);
  std::vector<std::vector<Recording::Survivor>> result{{}};
  std::vector<Recording::Survivor> all;
  for (const std::size_t write : unflushed) all.push_back({.write = write});
  if (all.empty()) return result;
  result.push_back(all);
  for (std::size_t i = 0; i < all.size(); ++i) {
    result.push_back({all[i]});
    auto others = all;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(i));
    result.push_back(others);
    const std::uint64_t sectors = recording.writes()[all[i].write].length_bytes / 512;
    for (const std::uint64_t first : {std::uint64_t{0}, sectors / 2, sectors - 1}) {
      auto torn = all;
      torn[i].first_sector = first;
      torn[i].sectors = 1;
      result.push_back(torn);
      torn[i].all_but = true;
      result.push_back(torn);
    }
  }
  return result;
}

void crash_everywhere(std::uint64_t seed, int steps, std::uint64_t size_bytes, bool nearly_full = false) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const Recorded life = record(seed, steps, size_bytes, nearly_full);
  ASSERT_FALSE(testing::Test::HasFailure());
  const Recording& recording = life.recording;
  std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
  std::size_t states = 0;
  for (std::size_t prefix = 0; prefix <= recording.events().size(); ++prefix) {
    if (prefix != 0 && recording.events()[prefix - 1].kind == Recording::EventKind::kWriteEnd)
      continue;  // as before it, or after
    const std::uint64_t acknowledged = acknowledged_at(recording, prefix);
    for (const auto& survivors : outcomes(recording, prefix)) {
      DiskImage image = recording.content(prefix, survivors);
      if (!seen.emplace(image.hash(), acknowledged).second) continue;
      MemoryDisk disk(std::move(image));
      ++states;
      const std::string wrong = recover(disk, life.history, acknowledged);
      ASSERT_EQ(wrong, "") << "after event " << prefix << " of " << recording.events().size() << ", "
                           << survivors.size() << " of " << recording.unflushed_at(prefix).size()
                           << " unflushed writes left, state " << states;
    }
  }
  testing::Test::RecordProperty("states", static_cast<int>(states));
  std::printf("seed %llu: %zu crash states\n", static_cast<unsigned long long>(seed), states);
}

std::uint64_t first_seed() {
  const char* given = std::getenv("WEFT_TEST_SEED");
  return given != nullptr ? std::strtoull(given, nullptr, 10) : 1;
}

TEST(VolumeCrash, IsPrefixConsistentWhereverThePowerGoes) {
  for (std::uint64_t seed = first_seed(); seed < first_seed() + 3; ++seed) crash_everywhere(seed, 40, 8 * kMiB);
}

TEST(VolumeCrash, IsPrefixConsistentOnTheSmallestVolume) { crash_everywhere(first_seed() + 100, 40, kMinVolumeBytes); }

TEST(VolumeCrash, IsPrefixConsistentWhenNearlyFull) { crash_everywhere(first_seed() + 200, 12, 8 * kMiB, true); }

// The crash comes in the middle of the recovery from a crash, and again in the recovery from that.
TEST(VolumeCrash, RecoveryMayBeInterruptedAnyNumberOfTimes) {
  const std::uint64_t seed = first_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  SimDisk disk(8 * kMiB, test::sim(seed));
  ASSERT_TRUE(test::make_fixed_volume(disk));
  auto volume = Volume::open(disk, quiet()).value();
  test::Workload work(*volume, seed);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(work.step());
  const std::uint64_t acknowledged = work.sync();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(work.step());
  volume.reset();
  disk.crash();
  const DiskImage crashed = disk.copy();
  for (std::uint64_t first = 1;; ++first) {
    SimDisk again(crashed, test::sim(seed + first));
    again.cut_power_at_write(first);
    const bool whole = Volume::open(again, quiet()).has_value();
    again.restart();
    for (std::uint64_t second = 1; second < 4; ++second) {
      again.cut_power_at_write(second);
      (void)Volume::open(again, quiet());
      again.restart();
      SimDisk result(again.copy(), {});
      ASSERT_EQ(recover(result, work.history(), acknowledged), "") << "cut at write " << first << ", then " << second;
    }
    if (whole) break;
  }
}

// A superblock is torn in its table slots; recovery writes one of the same number to the same slot, with other tables beneath, and all
// but its first sector gets there. Together they would be the first superblock, whole.
TEST(VolumeCrash, ATornSuperblockIsNotCompletedByTheTornOneOfRecovery) {
  const std::uint64_t seed = first_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  MemoryDisk memory(kMinVolumeBytes);
  ASSERT_TRUE(test::make_fixed_volume(memory));
  RecordingDisk recorder(memory, memory.copy());
  test::HookDisk disk(recorder);
  auto volume = Volume::open(disk, quiet()).value();
  test::Workload work(*volume, seed);
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(work.step());
  std::uint64_t acknowledged = work.sync();
  bool played = false;
  disk.before = [&](std::span<const BlockIo>) {
    // While the checkpoint is under way: what recovery's has, and this one has not.
    if (std::exchange(played, true)) return;
    for (int i = 0; i < 10; ++i) (void)work.step();
    acknowledged = work.sync();
  };
  ASSERT_TRUE(volume->checkpoint());
  volume.reset();
  const Recording first = recorder.finish();

  // The last two writes are the superblock and its copy.
  const std::size_t superblock = first.writes().size() - 2;
  const Recording::Survivor torn{.write = superblock, .first_sector = 4, .sectors = 1, .all_but = true};
  const DiskImage crashed = first.content(first.writes()[superblock].begin + 1, std::span(&torn, 1));
  MemoryDisk again(crashed);
  RecordingDisk recovery(again, crashed);
  ASSERT_TRUE(Volume::open(recovery, quiet()));
  std::string wrong;
  const std::size_t states = for_each_crash_state(recovery.finish(), {}, [&](const CrashState& state) {
    MemoryDisk left(state.content);
    wrong = recover(left, work.history(), acknowledged);
    return wrong.empty();
  });
  EXPECT_EQ(wrong, "") << "in state " << states;
  EXPECT_GT(states, 10u);
}

// Seeded disks that lose, keep and tear at random: many short lives of one volume.
TEST(VolumeCrash, ManyLivesOfOneVolume) {
  const std::uint64_t seed = first_seed();
  std::printf("seed %llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  SimDisk disk(8 * kMiB, test::sim(seed));
  ASSERT_TRUE(test::make_fixed_volume(disk));
  for (int life = 0; life < 60; ++life) {
    auto opened = Volume::open(disk, quiet());
    ASSERT_TRUE(opened) << opened.error().message() << " in life " << life;
    auto volume = std::move(*opened);
    test::Workload work(*volume, random.next());
    work.start_from(test::dump(*volume));
    std::uint64_t acknowledged = volume->durable().value();
    disk.cut_power_at_write(random.between(1, 60));
    while (disk.powered() && !volume->failure()) {
      (void)work.step();
      if (random.one_in(3)) acknowledged = std::max(acknowledged, work.sync());
      if (random.one_in(10)) (void)volume->checkpoint();
    }
    volume.reset();
    disk.restart();
    SimDisk copy(disk.copy(), {});
    ASSERT_EQ(recover(copy, work.history(), acknowledged), "") << "life " << life;
  }
}

}  // namespace
}  // namespace weft::fs
