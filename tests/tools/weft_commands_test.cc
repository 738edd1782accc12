// What `weft info`, `dump`, `stat`, `trim` and `scrub` show of a volume with one of everything, whole and damaged.
#include "tools/weft_commands.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "fs/aligned_buffer.h"
#include "fs/format_check.h"
#include "fs/scrub.h"
#include "fs/superblock.h"
#include "kernel/memory_disk.h"
#include "kernel/random.h"
#include "kernel/sim_disk.h"
#include "kernel/units.h"
#include "tests/support/mounted.h"
#include "tests/support/sample_tree.h"
#include "tools/volume_view.h"

namespace weft::tools {
namespace {

// Made once: a clean volume, and the same after a crash.
const DiskImage& sample(bool clean) {
  static const auto images = [] {
    fs::test::StepClock clock;
    MemoryDisk disk(16 * kMiB);
    EXPECT_OK(fs::test::make_sample_volume(disk, "sample", clock));
    auto file_system = fs::test::mount_sample(disk, clock).value();
    EXPECT_OK(fs::test::make_sample_tree(*file_system));
    EXPECT_OK(file_system->sync());
    DiskImage crashed = disk.copy();
    EXPECT_OK(file_system->unmount());
    return std::pair(disk.copy(), crashed);
  }();
  return clean ? images.first : images.second;
}

struct Shown {
  std::string text;
  std::string json;
  unsigned wrong = 0;
  unsigned reports = 0;
  Status status;
};

template <typename Show>
Shown shown(Show&& show) {
  Shown all;
  all.status = show([&](const Report& report) {
    all.text += report.text();
    all.json += report.json() + "\n";
    all.wrong += report.is_wrong() ? 1 : 0;
    ++all.reports;
  });
  return all;
}
Shown dump(BlockDevice& disk, std::vector<std::string> words, bool records = false) {
  return shown(
      [&](PrintReport print) { return show_dump(disk, {.words = std::move(words), .records = records}, print); });
}
bool has(const Shown& shown, std::string_view words) { return shown.text.find(words) != std::string::npos; }

TEST(WeftInfo, TellsACleanVolumeFromOneThatNeedsRecovery) {
  MemoryDisk clean(sample(true));
  const Shown rest = shown([&](PrintReport print) { return show_info(clean, print); });
  ASSERT_OK(rest.status);
  EXPECT_TRUE(has(rest, "sample")) << rest.text;
  EXPECT_TRUE(has(rest, "  clean\n")) << rest.text;
  EXPECT_EQ(rest.wrong, 0U);
  MemoryDisk crashed(sample(false));
  const Shown crash = shown([&](PrintReport print) { return show_info(crashed, print); });
  ASSERT_OK(crash.status);
  EXPECT_TRUE(has(crash, "needs recovery")) << crash.text;
  EXPECT_FALSE(has(crash, "0 transactions not in the checkpoint")) << crash.text;
}

TEST(WeftInfo, ShowsALostSuperblockSlotAndUsesTheOthers) {
  MemoryDisk disk(sample(true));
  fs::AlignedBuffer zeros(fs::kBlockBytes);
  ASSERT_OK(disk.write(0, zeros.bytes()));
  const Shown info = shown([&](PrintReport print) { return show_info(disk, print); });
  ASSERT_OK(info.status);
  EXPECT_TRUE(has(info, "slot 0 at block 0: nothing whole: not a superblock")) << info.text;
}

TEST(WeftInfo, RefusesWhatIsNoVolume) {
  MemoryDisk disk(kMiB);
  const Shown info = shown([&](PrintReport print) { return show_info(disk, print); });
  ASSERT_FALSE(info.status);
  EXPECT_EQ(info.status.error().code(), Errc::kWrongFormat);
  MemoryDisk tiny(512);
  EXPECT_FALSE(shown([&](PrintReport print) { return show_info(tiny, print); }).status);
}

TEST(WeftDump, ShowsEveryBlockOfAVolumeAsWhatItIs) {
  MemoryDisk disk(sample(true));
  const std::uint64_t blocks = disk.geometry().size_bytes / fs::kBlockBytes;
  for (std::uint64_t block = 0; block < blocks; ++block) {
    const Shown got = dump(disk, {"block", std::to_string(block)});
    ASSERT_OK(got.status);
    EXPECT_EQ(got.reports, 1U);
    EXPECT_EQ(got.wrong, 0U) << got.text;
  }
  EXPECT_TRUE(has(dump(disk, {"block", "0"}), "block_count"));
  EXPECT_TRUE(has(dump(disk, {"block", "2"}), "group table"));
  EXPECT_TRUE(has(dump(disk, {"block", "4"}), "bitmap of group 0"));
  EXPECT_TRUE(has(dump(disk, {"block", "6"}), "log, from its byte 0"));
  EXPECT_EQ(dump(disk, {"block", std::to_string(blocks)}).status.error().code(), Errc::kInvalid);
}

TEST(WeftDump, ShowsInodesByNumberAndByPath) {
  MemoryDisk disk(sample(true));
  const Shown file = dump(disk, {"path", "/types/small"});
  ASSERT_OK(file.status);
  EXPECT_TRUE(has(file, "-rw-r--r--")) << file.text;
  EXPECT_TRUE(has(file, "extent 0: 1 blocks")) << file.text;
  EXPECT_TRUE(has(dump(disk, {"path", "/attributes/file"}), "\"user.large\", 20000 bytes elsewhere"));
  EXPECT_TRUE(has(dump(disk, {"path", "/types/null"}), "1:3"));
  EXPECT_TRUE(has(dump(disk, {"path", "/data/reserved"}), "unwritten"));
  EXPECT_TRUE(has(dump(disk, {"path", "/attributes/immutable"}), "immutable, noatime"));
  EXPECT_TRUE(has(dump(disk, {"path", "/names"}), "\\xff\\x01 no UTF-8 \\\\"));
  EXPECT_TRUE(has(dump(disk, {"inode", "1"}), "drwxr-xr-x"));
  EXPECT_TRUE(has(dump(disk, {"inode", "0x1"}), "drwxr-xr-x"));
  EXPECT_EQ(dump(disk, {"path", "/types/none"}).status.error().code(), Errc::kNotFound);
  EXPECT_EQ(dump(disk, {"inode", "999999"}).status.error().code(), Errc::kNotFound);
}

TEST(WeftDump, SeesThroughPathsAndInodesWhatOnlyTheLogHolds) {
  MemoryDisk disk(sample(false));
  EXPECT_OK(dump(disk, {"path", "/types/small"}).status);
  const Shown log = dump(disk, {"log"}, true);
  ASSERT_OK(log.status);
  EXPECT_TRUE(has(log, "make directory, about inode")) << log.text.substr(0, 2000);
  EXPECT_TRUE(has(log, "\"deep\" -> inode"));
  EXPECT_EQ(log.wrong, 0U);
}

TEST(WeftDump, WalksTheTree) {
  MemoryDisk disk(sample(true));
  const Shown tree = dump(disk, {"tree"});
  ASSERT_OK(tree.status);
  EXPECT_GT(tree.reports, 5U);
  EXPECT_TRUE(has(tree, "level 1")) << tree.text;
  EXPECT_EQ(tree.wrong, 0U);
}

TEST(WeftDump, ExplainsItsWords) {
  MemoryDisk disk(sample(true));
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{{},
                                                                                     {"group"},
                                                                                     {"group", "x"},
                                                                                     {"group", "1", "2"},
                                                                                     {"tree", "1"},
                                                                                     {"nonsense"},
                                                                                     {"block", "-1"},
                                                                                     {"block", ""}}) {
    const Shown got = dump(disk, words);
    ASSERT_FALSE(got.status);
    EXPECT_EQ(got.status.error().code(), Errc::kInvalid);
  }
  EXPECT_EQ(dump(disk, {"group", "7"}).status.error().code(), Errc::kInvalid);
}

TEST(WeftDump, ShowsADamagedNodeWithWhatIsWrong) {
  MemoryDisk disk(sample(true));
  const std::uint64_t root = fs::find_superblock(disk)->superblock.root.block;
  fs::AlignedBuffer block(fs::kBlockBytes);
  ASSERT_OK(disk.read(root * fs::kBlockBytes, block.bytes()));
  block.bytes()[200] ^= std::byte{1};
  ASSERT_OK(disk.write(root * fs::kBlockBytes, block.bytes()));
  const Shown node = dump(disk, {"node", std::to_string(root)});
  ASSERT_OK(node.status);
  EXPECT_TRUE(has(node, "WRONG: tree node in block " + std::to_string(root) + " has a wrong checksum")) << node.text;
  EXPECT_TRUE(has(node, "items"));
  EXPECT_EQ(dump(disk, {"tree"}).wrong, 1U);
  EXPECT_EQ(shown([&](PrintReport print) { return show_stat(disk, print); }).wrong, 1U);
  EXPECT_FALSE(dump(disk, {"path", "/types"}).status);
}

TEST(WeftStat, CountsEveryBlockOnce) {
  MemoryDisk disk(sample(true));
  const Shown stat = shown([&](PrintReport print) { return show_stat(disk, print); });
  ASSERT_OK(stat.status);
  EXPECT_EQ(stat.wrong, 0U) << stat.text;
  EXPECT_TRUE(has(stat, "free_by_size")) << stat.text;
}

TEST(WeftTrim, HandsFreeSpaceBackAndLeavesTheRest) {
  MemoryDisk disk(sample(true));
  const auto bytes = trim_device(disk, {});
  ASSERT_OK(bytes);
  EXPECT_GT(*bytes, 4 * kMiB);
  EXPECT_OK(dump(disk, {"path", "/types/small"}).status);
  const auto none = trim_device(disk, {.offset_bytes = 0, .length_bytes = ~std::uint64_t{0}, .minimum_bytes = kGiB});
  ASSERT_OK(none);
  EXPECT_EQ(*none, 0U);
}

// The server's side of a scrub, without a kernel in between.
Status scrub_step_of(fs::Volume& volume, fs::fuse::ScrubArgument& argument) {
  const auto step = TRY(fs::scrub_step(
      volume, {.phase = argument.phase, .object = argument.object, .tag = argument.tag}, argument.max_blocks));
  argument = {};
  argument.phase = step.next.phase, argument.object = step.next.object, argument.tag = step.next.tag;
  argument.done = step.done ? 1 : 0;
  argument.metadata_blocks = step.metadata_blocks, argument.data_blocks = step.data_blocks;
  argument.files = step.files, argument.errors = step.errors;
  for (const fs::ScrubFinding& finding : step.findings) {
    if (argument.findings == 2) break;  // of any number
    argument.list[argument.findings++] = {static_cast<std::uint32_t>(finding.problem),
                                          static_cast<std::uint32_t>(finding.count), finding.inode.value(),
                                          finding.file_block.value(), finding.block.value()};
  }
  return {};
}

TEST(WeftScrub, NamesTheFileAndTheBlocksThatAreNotWhatWasWritten) {
  fs::test::StepClock clock;
  SimDisk disk(sample(true), {});
  const auto mounted = fs::test::mount_sample(disk, clock);
  ASSERT_OK(mounted);
  const auto step = [&](fs::fuse::ScrubArgument& argument) { return scrub_step_of((*mounted)->volume(), argument); };
  const auto clean = scrub(step, {.clock = &clock});
  ASSERT_OK(clean);
  EXPECT_FALSE(clean->is_wrong()) << clean->text();

  std::uint64_t file = 0, rotten = 0;
  const Shown found = dump(disk, {"path", "/types/several-extents"});
  ASSERT_OK(found.status);
  ASSERT_OK((*mounted)->volume().scan(fs::Key::lowest(), fs::Key::highest(),
                                      [&](fs::Key key, std::span<const std::byte> value) {
                                        fs::DiskExtent extent;
                                        if (key.kind() != fs::KeyKind::kExtent) return true;
                                        std::memcpy(&extent, value.data(), sizeof(extent));
                                        if (extent.flags != 0 || extent.length < 100) return true;
                                        file = key.object;
                                        rotten = extent.block + 7;
                                        return false;
                                      }));
  ASSERT_NE(file, 0U);
  disk.rot(rotten * fs::kBlockBytes, fs::kBlockBytes);
  disk.rot((rotten + 1) * fs::kBlockBytes, fs::kBlockBytes);
  const auto paths = [&](const std::set<std::uint64_t>& inodes) {
    EXPECT_EQ(inodes, std::set{file});
    return std::map<std::uint64_t, std::string>{{file, "/mnt/types/several\n"}};
  };
  const auto report = scrub(step, {.find_paths = paths, .clock = &clock});
  ASSERT_OK(report);
  EXPECT_TRUE(report->is_wrong());
  EXPECT_NE(report->text().find("WRONG: /mnt/types/several\\x0a: 2 blocks from block 7 of the file on (block " +
                                std::to_string(rotten) + " of the volume) are not what was written"),
            std::string::npos)
      << report->text();
  EXPECT_NE(report->json().find("\"problem\":\"data-checksum\""), std::string::npos) << report->json();
  EXPECT_NE(report->json().find("\"errors\":2"), std::string::npos) << report->json();
}

TEST(WeftScrub, KeepsToTheRateThatItIsGiven) {
  fs::test::StepClock clock;
  MemoryDisk disk(sample(true));
  const auto mounted = fs::test::mount_sample(disk, clock);
  ASSERT_OK(mounted);
  std::chrono::nanoseconds paused{0};
  std::uint64_t last = 0;
  const auto report =
      scrub([&](fs::fuse::ScrubArgument& argument) { return scrub_step_of((*mounted)->volume(), argument); },
            {.bytes_per_second = kMiB / 2,
             .expected_blocks = 1000,
             .progress = [&](std::uint64_t done, std::uint64_t) { last = done; },
             .pause =
                 [&](std::chrono::nanoseconds time) {
                   paused += time;
                   clock.advance(static_cast<std::uint64_t>(time / std::chrono::seconds(1)));
                 },
             .clock = &clock});
  ASSERT_OK(report);
  // Some 700 KiB at half a MiB a second.
  EXPECT_GT(paused, std::chrono::milliseconds(900));
  EXPECT_GT(last, 150U);
}

TEST(WeftScrub, IsForMounts) {
  EXPECT_EQ(scrub_mount("/", {}, [](const Report&) {}).error().code(), Errc::kUnsupported);
  EXPECT_FALSE(scrub_mount("/nowhere", {}, [](const Report&) {}));
}

// Anything may be on a disk. Half of the time the checksum is made right again, so that what lies behind it is reached.
TEST(WeftCommands, SurviveAnyBytes) {
  const char* given = std::getenv("WEFT_TEST_SEED");
  const std::uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : 20261124;
  std::printf("WEFT_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  for (int round = 0; round < 150; ++round) {
    MemoryDisk disk(sample(random.one_in(2)));
    const fs::DiskSuperblock superblock = fs::find_superblock(disk)->superblock;
    std::vector<std::uint64_t> targets = {superblock.root.block, 0, 1, 4094, 4095, 2, 3, 4, 5, 6, 7};
    for (std::uint64_t i = 0; i < 20; ++i) targets.push_back(superblock.root.block - 10 + i);
    const bool reseal = random.one_in(2);
    for (int hit = 0; hit < 3; ++hit) {
      const std::uint64_t target = targets[random.below(targets.size())];
      fs::AlignedBuffer block(fs::kBlockBytes);
      ASSERT_OK(disk.read(target * fs::kBlockBytes, block.bytes()));
      for (std::uint64_t flips = random.between(1, 8); flips != 0; --flips) {
        block.bytes()[random.below(random.one_in(2) ? 400 : fs::kBlockBytes)] = static_cast<std::byte>(random.next());
      }
      if (reseal) {
        fs::DiskSuperblock as_superblock;
        std::memcpy(&as_superblock, block.bytes().data(), sizeof(as_superblock));
        const std::size_t hole = as_superblock.magic == fs::kSuperblockMagic ? 8 : 4;
        const le32 crc = fs::crc_with_hole(block.bytes(), hole);
        std::memcpy(block.bytes().data() + hole, &crc, sizeof(crc));
      }
      ASSERT_OK(disk.write(target * fs::kBlockBytes, block.bytes()));
      (void)dump(disk, {"block", std::to_string(target)});
      (void)dump(disk, {"node", std::to_string(target)});
    }
    (void)shown([&](PrintReport print) { return show_info(disk, print); });
    (void)shown([&](PrintReport print) { return show_stat(disk, print); });
    for (const char* what : {"superblock", "log", "tree"}) (void)dump(disk, {what}, true);
    (void)dump(disk, {"group", "0"});
    (void)dump(disk, {"bitmap", "0"});
    (void)dump(disk, {"path", "/types/small"});
    (void)dump(disk, {"inode", "20"});
  }
}

}  // namespace
}  // namespace weft::tools
