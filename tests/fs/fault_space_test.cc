// tests/fs/fault_space_test.cc - every operation on a volume with so many blocks left, from none on: it happens or it does not, and
// what is there can be deleted.
//
// By itself every few fill levels are tried; WEFT_FAULTS=all tries all.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>

#include "kernel/memory_disk.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/fault_world.h"

namespace weft::fs::test {
namespace {

constexpr std::uint64_t kMostLeft = 240;  // blocks; all steps fit into so many

// The populated volume and a file /fill that takes all but `left` blocks: most of them in one go, the last one by one.
PopulatedVolume filled_volume(std::uint64_t left) {
  PopulatedVolume volume = populated_volume();
  StepClock clock;
  MemoryDisk disk(volume.image);
  const auto fs = FileSystem::mount(disk, fault_options(clock)).value();
  const InodeNo fill = fs->make_node({}, kRootInode, "fill", {.mode = S_IFREG | 0600}).value().inode;
  fs->forget(fill, 1);
  const auto available = [&] { return fs->volume().space().available_blocks; };
  std::uint64_t blocks = 0;
  for (std::uint64_t step = 1024; step != 0 && available() > left;) {
    step = std::min(step, available() - left);
    if (fs->allocate(fill, AllocateMode::kReserveKeepSize, (kMostLeft + blocks) * kBlockBytes, step * kBlockBytes)) {
      blocks += step;
    } else {
      step /= 2;
    }
  }
  std::string content;
  for (; available() > left; content.append(kBlockBytes, 'f')) {
    const auto done = fs->write(fill, content.size(), to_bytes(std::string(kBlockBytes, 'f')), false);
    if (!done || *done != kBlockBytes) break;
  }
  EXPECT_LT(content.size(), kMostLeft * kBlockBytes);
  EXPECT_OK(fs->unmount());
  TreeModel::Id id = 0;
  EXPECT_FALSE(volume.model.make(TreeModel::kRoot, "fill", S_IFREG | 0600, "", id));
  EXPECT_FALSE(volume.model.write(id, 0, content));
  volume.image = disk.copy();
  return volume;
}

void run_with(std::uint64_t left, std::size_t& refused) {
  SCOPED_TRACE(std::to_string(left) + " blocks left, WEFT_TEST_SEED=" + std::to_string(fault_seed()));
  FaultRun run(fault_seed() * 1000 + left, filled_volume(left));
  run.excuse_no_space();
  run.run_steps(false);
  refused += run.failed_steps();
  if (testing::Test::HasFailure()) return;
  run.remove_all();
  run.end(left % 2 == 0);
  run.expect_recovery();
}

TEST(FaultSpace, AtEveryFillLevelAnOperationHappensOrDoesNot) {
  std::size_t refused = 0;
  std::uint64_t levels = 0;
  const std::uint64_t stride = fault_stride(17);
  for (std::uint64_t left = fault_seed() % stride; left <= kMostLeft && !testing::Test::HasFailure();
       left += stride, ++levels) {
    run_with(left, refused);
  }
  EXPECT_GT(refused, 0u);
  std::printf("%llu fill levels, %zu steps refused\n", static_cast<unsigned long long>(levels), refused);
}

// Writes fail on the full volume, too.
TEST(FaultSpace, AFullVolumeWhoseDiskFailsLosesNothingAcknowledged) {
  const PopulatedVolume volume = filled_volume(20);
  const std::uint64_t stride = fault_stride(23);
  for (std::uint64_t n = fault_seed() % stride; n < 90 && !testing::Test::HasFailure(); n += stride) {
    SCOPED_TRACE("write " + std::to_string(n) + " WEFT_TEST_SEED=" + std::to_string(fault_seed()));
    FaultRun run(fault_seed() * 1000 + n, volume);
    run.excuse_no_space();
    run.inject({.op = BlockOp::kWrite, .kind = SimDisk::FaultKind::kError, .skip = n});
    run.run_steps(false);
    run.end(n % 2 == 0);
    run.expect_recovery();
  }
}

}  // namespace
}  // namespace weft::fs::test
