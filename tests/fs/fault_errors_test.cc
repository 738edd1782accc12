// tests/fs/fault_errors_test.cc - the n-th read, write or flush fails, once or from then on, for each n of a workload of every
// operation; and disks that lie: writes that are lost or land elsewhere, flushes that do nothing.
//
// By itself every few of them are tried; WEFT_FAULTS=all tries all.
#include <gtest/gtest.h>

#include "tests/fs/fault_world.h"
#include "tests/support/log_lines.h"

namespace weft::fs::test {
namespace {

using Kind = SimDisk::FaultKind;

std::uint64_t count_of(BlockOp op) {
  FaultRun run;
  run.run_steps(false);
  EXPECT_EQ(run.failed_steps(), 0u);
  run.end(true);
  const auto counters = run.disk.counters();
  run.expect_recovery();
  return op == BlockOp::kRead ? counters.reads : op == BlockOp::kWrite ? counters.writes : counters.flushes;
}

void sweep(BlockOp op, Kind kind, std::uint64_t times, std::uint64_t stride, bool silent) {
  const std::uint64_t count = count_of(op);
  stride = fault_stride(stride);
  std::uint64_t points = 0, failed = 0;
  for (std::uint64_t n = fault_seed() % stride; n < count; n += stride) {
    SCOPED_TRACE("request " + std::to_string(n) + " WEFT_TEST_SEED=" + std::to_string(fault_seed()));
    FaultRun run(fault_seed() * 1000 + n);
    run.inject({.op = op, .kind = kind, .skip = n, .times = times});
    run.run_steps(silent);
    ++points;
    failed += run.failed_steps();
    run.end((n / stride) % 2 == 0);
    if (silent) {
      run.expect_nothing_wrong();
    } else {
      run.expect_recovery();
    }
    if (testing::Test::HasFailure()) return;
  }
  std::printf("%llu of %llu points, %llu steps failed\n", static_cast<unsigned long long>(points),
              static_cast<unsigned long long>(count), static_cast<unsigned long long>(failed));
}

TEST(FaultErrors, AReadThatFailsOnceLosesNothing) { sweep(BlockOp::kRead, Kind::kError, 1, 5, false); }
TEST(FaultErrors, ReadsThatFailFromThenOnLoseNothing) {
  sweep(BlockOp::kRead, Kind::kError, SimDisk::kForEver, 13, false);
}
TEST(FaultErrors, AWriteThatFailsOnceLosesNothingAcknowledged) { sweep(BlockOp::kWrite, Kind::kError, 1, 6, false); }
TEST(FaultErrors, WritesThatFailFromThenOnLoseNothingAcknowledged) {
  sweep(BlockOp::kWrite, Kind::kError, SimDisk::kForEver, 9, false);
}
TEST(FaultErrors, AfterAFlushThatFailedNothingIsAcknowledged) { sweep(BlockOp::kFlush, Kind::kError, 1, 4, false); }
TEST(FaultErrors, AfterFlushesThatFailNothingIsAcknowledged) {
  sweep(BlockOp::kFlush, Kind::kError, SimDisk::kForEver, 6, false);
}

TEST(FaultErrors, ALostWriteIsNeverReadAsSomethingElse) { sweep(BlockOp::kWrite, Kind::kLost, 1, 4, true); }
TEST(FaultErrors, AMisdirectedWriteIsNeverReadAsSomethingElse) {
  sweep(BlockOp::kWrite, Kind::kMisdirected, 1, 4, true);
}
TEST(FaultErrors, AWriteStoredWithAFlippedBitIsNeverReadAsItIs) { sweep(BlockOp::kWrite, Kind::kFlipped, 1, 5, true); }
TEST(FaultErrors, AReadWithAFlippedBitIsNeverAnswered) { sweep(BlockOp::kRead, Kind::kFlipped, 1, 9, true); }
TEST(FaultErrors, AFlushThatLiesNeverShowsWhatWasNotThere) { sweep(BlockOp::kFlush, Kind::kLost, 1, 4, true); }

TEST(FaultErrors, AFailureIsALineInTheLogAndTheEndOfAcknowledgements) {
  const weft::test::LogLines lines;
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  m.write(file, 0, "durable");
  ASSERT_OK(m->fsync(file, false));
  m.write(m.file(kTop, "b"), 0, "not yet");
  m.disk.inject({.op = BlockOp::kFlush, .kind = Kind::kError});
  EXPECT_EQ(code(m->sync()), Errc::kIo);
  EXPECT_TRUE(m->volume().read_only());
  EXPECT_NE(lines.text().find("a flush failed, the volume is read-only from here on"), std::string::npos);
  // Also of what was durable before.
  EXPECT_EQ(code(m->fsync(file, false)), Errc::kIo);
  EXPECT_EQ(code(m->sync()), Errc::kIo);
  EXPECT_EQ(code(m->unlink({}, kTop, "a")), Errc::kIo);
  EXPECT_EQ(m.read(file), "durable");
}

TEST(FaultErrors, AReadErrorIsALineThatNamesTheInode) {
  const weft::test::LogLines lines;
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  m.write(file, 0, std::string(3 * kBlockBytes, 'x'));
  m.disk.inject({.op = BlockOp::kRead, .kind = Kind::kError});
  std::vector<std::byte> buffer(3 * kBlockBytes);
  EXPECT_EQ(code(m->read(file, 0, buffer)), Errc::kIo);
  EXPECT_NE(lines.text().find("inode " + std::to_string(file.value()) + ": blocks from 0 of the file on"),
            std::string::npos)
      << lines.text();
}

}  // namespace
}  // namespace weft::fs::test
