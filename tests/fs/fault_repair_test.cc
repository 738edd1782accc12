// tests/fs/fault_repair_test.cc - fsck of each golden image is killed, or the power goes, at each of its writes, and again in the repair
// that follows: the last one brings back the same tree as one that nobody disturbed.
//
// By itself each write is tried with a few fates of what no flush covered; WEFT_FAULTS=all tries more.
#include <gtest/gtest.h>

#include <cstdio>
#include <string>
#include <vector>

#include "kernel/random.h"
#include "kernel/sim_disk.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/fault_world.h"
#include "tests/support/golden_image.h"
#include "tests/support/log_lines.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {
namespace {

using weft::test::LogLines;

constexpr std::uint64_t kFates = 30;  // of each write

// What becomes of writes that no flush covers.
enum class End { kKilled, kPowerCut };

SimDisk::Options options_for(End end, std::uint64_t seed) {
  if (end == End::kPowerCut) return {.seed = seed};
  return {.seed = seed, .absent_percent = 0, .present_percent = 100};
}

Result<check::CheckReport> repair(BlockDevice& disk) {
  StepClock clock;
  return check::check_volume(disk, {.repair = true, .progress = {}, .clock = &clock});
}

// Whether it was cut off before its end.
bool repair_until(SimDisk& disk, std::uint64_t write) {
  disk.cut_power_at_write(write);
  static_cast<void>(repair(disk));
  const bool cut = !disk.powered();
  disk.crash();
  return cut;
}

// True if the repair was cut off at its n-th write, and not over by then.
bool cut_off(const DiskImage& image, const std::string& tree, std::uint64_t n, SimDisk::Options options) {
  Random random(options.seed);
  SimDisk disk(image, std::move(options));
  const bool cut = repair_until(disk, n);
  repair_until(disk, 1 + random.below(20));
  MemoryDisk last(disk.copy());
  const auto report = repair(last);
  EXPECT_OK(report);
  if (!report) return cut;
  EXPECT_EQ(report->uncorrected, 0u) << text_of(*report);
  EXPECT_EQ(problems_of(last.copy()), "");
  const auto after = tree_of(last.copy());
  EXPECT_OK(after);
  EXPECT_EQ(after.value_or(""), tree);
  return cut;
}

void sweep(End end) {
  const LogLines quiet;
  const std::vector<Golden> all = golden_images();
  ASSERT_FALSE(all.empty()) << "images/manifest is not here: run from the top folder";
  std::uint64_t cuts = 0;
  for (const Golden& golden : all) {
    const DiskImage image = load(golden);
    const std::string tree = golden_tree(golden.name);
    bool cut = true;
    for (std::uint64_t n = 1; cut; ++n) {
      for (std::uint64_t fate = 0; fate < kFates; fate += fault_stride(kFates / 3)) {
        const std::uint64_t seed = (fault_seed() * 1000 + n) * kFates + fate;
        SCOPED_TRACE(golden.name + ", write " + std::to_string(n) + ", fate " + std::to_string(fate) +
                     " WEFT_TEST_SEED=" + std::to_string(fault_seed()));
        cut = cut_off(image, tree, n, options_for(end, seed));
        if (testing::Test::HasFailure()) return;
        cuts += cut;
      }
    }
  }
  EXPECT_GE(cuts, 5 * all.size());
  std::printf("%llu repairs cut off\n", static_cast<unsigned long long>(cuts));
}

TEST(FaultRepair, ThatIsKilledAnywhereIsEndedByTheNext) { sweep(End::kKilled); }
TEST(FaultRepair, ThatLosesPowerAnywhereIsEndedByTheNext) { sweep(End::kPowerCut); }

}  // namespace
}  // namespace weft::fs::test
