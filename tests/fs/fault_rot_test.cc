// tests/fs/fault_rot_test.cc - each block of a populated volume in turn rots: a bit flips, it becomes zeros, or it holds what
// another block does. What is read then is what was written, or an error.
//
// By itself every few of them are tried; WEFT_FAULTS=all tries all.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>

#include "kernel/memory_disk.h"
#include "kernel/random.h"
#include "tests/fs/check/check_fixture.h"
#include "tests/fs/fault_world.h"
#include "tests/support/log_lines.h"

namespace weft::fs::test {
namespace {

using weft::test::LogLines;
using Block = std::array<std::byte, kBlockBytes>;

enum class Rot { kFlip, kZero, kSwap };

void rot(DiskImage& image, std::uint64_t offset, Rot how, Random& random) {
  Block block;
  image.read(offset, block);
  switch (how) {
    case Rot::kFlip: block[random.below(kBlockBytes)] ^= static_cast<std::byte>(1u << random.below(8)); break;
    case Rot::kZero: block.fill(std::byte{0}); break;
    case Rot::kSwap: {
      const auto chunks = image.chunks();
      const std::uint64_t with = chunks[random.below(chunks.size())];
      Block other;
      image.read(with, other);
      image.write(with, block);
      block = other;
      break;
    }
  }
  image.write(offset, block);
}

// Looks at everything, changes something of everything, repairs. What was not answered is in `errors`.
void use_rotten(const DiskImage& image, const SnapshotTree& truth, std::uint64_t& errors, std::uint64_t& refused) {
  StepClock clock;
  MemoryDisk disk(image);
  if (auto mounted = FileSystem::mount(disk, fault_options(clock))) {
    const Look look = look_for(**mounted, truth);
    errors += look.errors;
    EXPECT_EQ(look.wrong, "");
    for (const FaultStep& step : fault_steps()) static_cast<void>(step.run(**mounted));
    static_cast<void>((*mounted)->unmount());
  } else {
    ++refused;
    EXPECT_TRUE(is_trouble(mounted.error().code()) || mounted.error() == Errc::kWrongFormat)
        << mounted.error().message();
  }
  EXPECT_EQ(problems_after_repair(disk), "");
  auto mounted = FileSystem::mount(disk, fault_options(clock));
  ASSERT_TRUE(mounted.has_value()) << "after the repair: " << mounted.error().message();
  const auto made = (*mounted)->make_node({}, kRootInode, "works", {.mode = S_IFREG | 0600});
  ASSERT_OK(made);
  EXPECT_OK((*mounted)->write(made->inode, 0, to_bytes("again"), false));
  (*mounted)->forget(made->inode, 1);
  EXPECT_OK((*mounted)->unmount());
  mounted->reset();
  EXPECT_EQ(problems_of(disk.copy()), "");
}

void sweep(Rot how, std::uint64_t stride) {
  const LogLines quiet;
  const PopulatedVolume& volume = populated_volume();
  const SnapshotTree truth = volume.model.snapshot();
  const auto chunks = volume.image.chunks();
  std::uint64_t errors = 0, refused = 0, points = 0;
  stride = fault_stride(stride);
  for (std::size_t i = fault_seed() % stride; i < chunks.size(); i += stride, ++points) {
    SCOPED_TRACE("block " + std::to_string(chunks[i] / kBlockBytes) +
                 " WEFT_TEST_SEED=" + std::to_string(fault_seed()));
    Random random(fault_seed() * 1000 + i);
    DiskImage image = volume.image;
    rot(image, chunks[i], how, random);
    use_rotten(image, truth, errors, refused);
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(errors, 0u);
  std::printf("%llu blocks, %llu answers refused, %llu mounts refused\n", static_cast<unsigned long long>(points),
              static_cast<unsigned long long>(errors), static_cast<unsigned long long>(refused));
}

TEST(FaultRot, OfABitInAnyBlockIsNeverAnswered) { sweep(Rot::kFlip, 2); }
TEST(FaultRot, OfAnyBlockToZerosIsNeverAnswered) { sweep(Rot::kZero, 3); }
TEST(FaultRot, OfAnyTwoBlocksChangingPlacesIsNeverAnswered) { sweep(Rot::kSwap, 2); }

// The volume as a crash left it, with a log: what is lost of the log's end cannot be told from what was never written.
TEST(FaultRot, OfAnyBlockOfAVolumeWithALogShowsAStateThatWasThere) {
  const LogLines quiet;
  FaultRun healthy;
  healthy.run_steps(false);
  const DiskImage crashed = healthy.disk.copy();
  const auto chunks = crashed.chunks();
  const std::uint64_t stride = fault_stride(3);
  for (std::size_t i = fault_seed() % stride; i < chunks.size(); i += stride) {
    SCOPED_TRACE("block " + std::to_string(chunks[i] / kBlockBytes) +
                 " WEFT_TEST_SEED=" + std::to_string(fault_seed()));
    Random random(fault_seed() * 1000 + i);
    DiskImage image = crashed;
    rot(image, chunks[i], static_cast<Rot>((i / stride) % 3), random);
    healthy.expect_nothing_wrong_with(image);
    if (testing::Test::HasFailure()) return;
  }
}

// While it is mounted, behind small caches.
TEST(FaultRot, UnderALiveMountIsNeverAnswered) {
  const LogLines quiet;
  const PopulatedVolume& volume = populated_volume();
  const SnapshotTree truth = volume.model.snapshot();
  const auto chunks = volume.image.chunks();
  std::uint64_t errors = 0;
  const std::uint64_t stride = fault_stride(3);
  for (std::size_t i = fault_seed() % stride; i < chunks.size(); i += stride) {
    SCOPED_TRACE("block " + std::to_string(chunks[i] / kBlockBytes) +
                 " WEFT_TEST_SEED=" + std::to_string(fault_seed()));
    StepClock clock;
    SimDisk disk(volume.image, {});
    {
      const auto fs = FileSystem::mount(disk, fault_options(clock));
      ASSERT_OK(fs);
      disk.rot(chunks[i], kBlockBytes);
      const Look look = look_for(**fs, truth);
      errors += look.errors;
      EXPECT_EQ(look.wrong, "");
      for (const FaultStep& step : fault_steps()) static_cast<void>(step.run(**fs));
      static_cast<void>((*fs)->unmount());
    }
    EXPECT_EQ(problems_after_repair(disk), "");
    if (testing::Test::HasFailure()) return;
  }
  EXPECT_GT(errors, 0u);
}

TEST(FaultRot, OfDataIsAnErrorAndALineThatNamesInodeAndBlock) {
  const LogLines lines;
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  m.write(file, 0, std::string(5 * kBlockBytes, 'x'));
  ASSERT_OK(m->sync());
  Block block;
  std::uint64_t at = 0;  // of the file's first block on the volume
  const DiskImage image = m.disk.copy();
  for (const std::uint64_t offset : image.chunks()) {
    image.read(offset, block);
    if (block.front() == std::byte{'x'} && block.back() == std::byte{'x'} && at == 0) at = offset;
  }
  ASSERT_NE(at, 0u);
  m.disk.rot(at + 2 * kBlockBytes, kBlockBytes);
  std::vector<std::byte> buffer(5 * kBlockBytes);
  EXPECT_EQ(code(m->read(file, 0, buffer)), Errc::kChecksum);
  EXPECT_EQ(m.read(file, 0, 2 * kBlockBytes), std::string(2 * kBlockBytes, 'x'));
  const std::string expected = "inode " + std::to_string(file.value()) + ": block 2 of the file, block " +
                               std::to_string(at / kBlockBytes + 2) + " of the volume";
  EXPECT_NE(lines.text().find(expected), std::string::npos) << lines.text();
  ASSERT_OK(m->unmount());
  MemoryDisk disk(m.disk.copy());
  check::CheckOptions with_data;
  with_data.data = true;
  const auto report = check::check_volume(disk, with_data);
  ASSERT_OK(report);
  EXPECT_EQ(report->found, 1u) << text_of(*report);
}

TEST(FaultRot, OfATreeNodeIsAnErrorAndALineThatNamesTheBlock) {
  const LogLines lines;
  StepClock clock;
  SimDisk disk(populated_volume().image, {});
  const auto fs = FileSystem::mount(disk, fault_options(clock));
  ASSERT_OK(fs);
  const DiskImage image = disk.copy();
  std::string block;
  for (const std::uint64_t offset : image.chunks()) {
    DiskNode node;
    image.read(offset, std::as_writable_bytes(std::span(&node, 1)));
    if (node.magic == kNodeMagic && node.level == 0) disk.rot(offset + 200, 8);
  }
  const Look look = look_for(**fs, populated_volume().model.snapshot());
  EXPECT_GT(look.errors, 0u);
  EXPECT_EQ(look.wrong, "");
  EXPECT_NE(lines.text().find("tree node"), std::string::npos) << lines.text();
}

}  // namespace
}  // namespace weft::fs::test
