// Looking for rot under a live mount: everything is looked at once, what is wrong is found, and what changes meanwhile is no alarm.
#include "fs/scrub.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <thread>

#include "kernel/memory_disk.h"
#include "kernel/random.h"
#include "tests/fs/fault_world.h"
#include "tests/support/log_lines.h"

namespace weft::fs::test {
namespace {

struct Total : ScrubStep {
  std::uint64_t steps = 0;
};

Total scrub(Volume& volume, std::uint64_t max_blocks = 64) {
  Total total;
  for (ScrubPosition at; !total.done; ++total.steps) {
    const auto step = scrub_step(volume, at, max_blocks);
    EXPECT_TRUE(step.has_value()) << step.error().message();
    if (!step) break;
    EXPECT_LT(at, step->next);
    at = step->next;
    total.done = step->done;
    total.metadata_blocks += step->metadata_blocks;
    total.data_blocks += step->data_blocks;
    total.unchecked_blocks += step->unchecked_blocks;
    total.files += step->files;
    total.errors += step->errors;
    total.findings.insert(total.findings.end(), step->findings.begin(), step->findings.end());
  }
  return total;
}

FileSystemOptions large_cache(Clock& clock) {
  FileSystemOptions options = fault_options(clock);
  options.volume.cache_bytes = 8 << 20;
  return options;
}

TEST(Scrub, OfACleanVolumeFindsNothingHoweverSmallTheSteps) {
  StepClock clock;
  MemoryDisk disk(populated_volume().image);
  const auto fs = FileSystem::mount(disk, large_cache(clock));
  ASSERT_OK(fs);
  std::uint64_t files = 0;
  for (const auto& [path, node] : populated_volume().model.snapshot()) files += S_ISREG(node.mode);
  const Total all = scrub((*fs)->volume(), kMaxScrubBlocks);
  EXPECT_EQ(all.errors, 0u);
  EXPECT_EQ(all.files, files - 1) << "one file has two names";
  EXPECT_GT(all.data_blocks, 200u);
  EXPECT_GT(all.metadata_blocks, 15u);
  const Total small = scrub((*fs)->volume(), 1);
  EXPECT_GT(small.steps, 100u);
  EXPECT_EQ(small.errors, 0u);
  EXPECT_EQ(small.files, all.files);
  EXPECT_EQ(small.data_blocks, all.data_blocks);
  EXPECT_EQ(small.metadata_blocks, all.metadata_blocks);
  const auto made = (*fs)->make_node({}, kRootInode, "in place", {.mode = S_IFREG | 0600});
  ASSERT_OK(made);
  ASSERT_OK((*fs)->set_flags({}, made->inode, kInodeNoCow));
  ASSERT_OK((*fs)->write(made->inode, 0, to_bytes(std::string(3 * kBlockBytes, 'x')), false));
  EXPECT_EQ(scrub((*fs)->volume()).unchecked_blocks, 3u);
}

TEST(Scrub, FindsRotInEachBlockThatItLooksAt) {
  const weft::test::LogLines quiet;
  StepClock clock;
  // All that mounting and looking change, once.
  MemoryDisk settled(populated_volume().image);
  Total clean;
  {
    const auto fs = FileSystem::mount(settled, large_cache(clock));
    ASSERT_OK(fs);
    clean = scrub((*fs)->volume());
  }
  std::uint64_t found = 0, hidden = 0;
  for (const std::uint64_t offset : settled.copy().chunks()) {
    SCOPED_TRACE("block " + std::to_string(offset / kBlockBytes));
    SimDisk disk(populated_volume().image, {.seed = offset + 1});
    const auto fs = FileSystem::mount(disk, large_cache(clock));
    ASSERT_OK(fs);
    EXPECT_EQ(look_for(**fs, populated_volume().model.snapshot()).errors, 0u);  // so that all nodes are in memory
    disk.rot(offset, kBlockBytes);
    const Total total = scrub((*fs)->volume());
    EXPECT_TRUE(total.done);
    EXPECT_EQ(total.metadata_blocks, clean.metadata_blocks);
    EXPECT_LE(total.errors, 1u);
    found += total.errors;
    for (const ScrubFinding& finding : total.findings) {
      EXPECT_EQ(finding.block, BlockNo(offset / kBlockBytes));
      EXPECT_EQ(finding.problem == ScrubProblem::kData, finding.inode != InodeNo());
    }
    hidden += total.errors == 0;
  }
  EXPECT_EQ(found, clean.metadata_blocks + clean.data_blocks);
  std::printf("%llu blocks found rotten, %llu are not in use\n", static_cast<unsigned long long>(found),
              static_cast<unsigned long long>(hidden));
}

TEST(Scrub, GoesOnPastNodesThatCannotBeReadAndDataThatCannot) {
  const weft::test::LogLines lines;
  StepClock clock;
  SimDisk disk(populated_volume().image, {});
  const auto fs = FileSystem::mount(disk, fault_options(clock));
  ASSERT_OK(fs);
  const DiskImage image = disk.copy();
  unsigned leaves = 0;
  for (const std::uint64_t offset : image.chunks()) {
    DiskNode node;
    image.read(offset, std::as_writable_bytes(std::span(&node, 1)));
    if (node.magic == kNodeMagic && node.level == 0 && ++leaves % 4 == 0) disk.rot(offset + 100, 8);
  }
  const Total nodes = scrub((*fs)->volume());
  EXPECT_TRUE(nodes.done);
  EXPECT_GT(nodes.errors, 1u);
  EXPECT_GT(nodes.data_blocks, 100u);
  EXPECT_NE(lines.text().find("scrub: tree node in block"), std::string::npos);
  const auto big = (*fs)->lookup(kRootInode, "big");
  if (big) (*fs)->forget(big->inode, 1);
}

TEST(Scrub, NamesTheBlocksOfAFileThatTheDeviceCannotRead) {
  const weft::test::LogLines lines;
  Mounted m;
  const InodeNo file = m.file(kTop, "a");
  m.write(file, 0, std::string(8 * kBlockBytes, 'x'));
  ASSERT_OK(m->sync());
  const Total clean = scrub(m->volume());
  EXPECT_EQ(clean.data_blocks, 8u);
  std::uint64_t at = 0;
  const DiskImage image = m.disk.copy();
  for (const std::uint64_t offset : image.chunks()) {
    std::array<std::byte, kBlockBytes> block;
    image.read(offset, block);
    if (block.front() == std::byte{'x'} && block.back() == std::byte{'x'} && at == 0) at = offset;
  }
  m.disk.inject({.op = BlockOp::kRead,
                 .kind = SimDisk::FaultKind::kError,
                 .times = SimDisk::kForEver,
                 .offset_bytes = at + 2 * kBlockBytes,
                 .length_bytes = 3 * kBlockBytes});
  const Total total = scrub(m->volume());
  ASSERT_EQ(total.findings.size(), 1u);
  const ScrubFinding& finding = total.findings.front();
  EXPECT_EQ(finding.problem, ScrubProblem::kRead);
  EXPECT_EQ(finding.inode, file);
  EXPECT_EQ(finding.file_block, FileBlock(2));
  EXPECT_EQ(finding.block, BlockNo(at / kBlockBytes + 2));
  EXPECT_EQ(finding.count, 3u);
  EXPECT_EQ(total.errors, 3u);
  EXPECT_NE(lines.text().find("scrub: inode " + std::to_string(file.value()) + ": 3 blocks from block 2 of the file"),
            std::string::npos)
      << lines.text();
}

TEST(Scrub, TakesNoPositionForGranted) {
  StepClock clock;
  MemoryDisk disk(populated_volume().image);
  const auto fs = FileSystem::mount(disk, fault_options(clock));
  ASSERT_OK(fs);
  Random random(fault_seed());
  for (int i = 0; i < 2000; ++i) {
    const std::uint64_t mask = ~std::uint64_t{0} >> random.below(64);
    const auto step = scrub_step(
        (*fs)->volume(), {.phase = random.below(3), .object = random() & mask, .tag = random() & mask}, random());
    ASSERT_OK(step);
    EXPECT_EQ(step->errors, 0u);
  }
}

// Writers on a small volume, so that blocks are freed and used again all the time, with checkpoints in between.
TEST(Scrub, HasNoFalseAlarmsWhileOthersWrite) {
  StepClock clock;
  MemoryDisk disk(populated_volume().image);
  FileSystemOptions options = fault_options(clock);
  options.volume.background = true;
  options.volume.commit_interval_ms = 1;
  const auto fs = FileSystem::mount(disk, options);
  ASSERT_OK(fs);
  std::atomic<bool> stop = false;
  std::atomic<unsigned> writes = 0;
  std::vector<std::thread> writers;
  for (int who = 0; who < 2; ++who) {
    writers.emplace_back([&, who] {
      Random random(static_cast<std::uint64_t>(who) + 1);
      const auto file = (*fs)->make_node({}, kRootInode, "w" + std::to_string(who), {.mode = S_IFREG | 0600});
      ASSERT_OK(file);
      while (!stop) {
        const std::string bytes(1 + random.below(60'000), static_cast<char>('a' + random.below(26)));
        static_cast<void>((*fs)->write(file->inode, random.below(200'000), to_bytes(bytes), false));
        ++writes;
        if (random.one_in(4))
          static_cast<void>((*fs)->set_attributes(
              {}, file->inode, {.fields = AttributeChange::kSize, .size_bytes = random.below(200'000)}));
        if (random.one_in(8)) static_cast<void>((*fs)->volume().checkpoint());
      }
      (*fs)->forget(file->inode, 1);
    });
  }
  std::uint64_t blocks = 0;
  for (unsigned round = 0; round < 15 || writes < 1500; ++round) {
    const Total total = scrub((*fs)->volume(), 16);
    EXPECT_EQ(total.errors, 0u);
    EXPECT_TRUE(total.done);
    blocks += total.data_blocks;
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  EXPECT_GT(blocks, 1000u);
  EXPECT_OK((*fs)->unmount());
}

}  // namespace
}  // namespace weft::fs::test
