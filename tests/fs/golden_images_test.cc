// What was once written stays readable, and what is broken is reported as what it is: images/, as images/manifest says.
//
// WEFT_WRITE_IMAGES=FOLDER makes the images there (make images), the same bytes each time from the same program: entropy is seeded,
// the clock counts its readers. A program that allocates otherwise makes others; the old ones must stay readable all the same.
#include <gtest/gtest.h>
#include <isa-l/igzip_lib.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/check/check.h"
#include "fs/layout.h"
#include "fs/superblock.h"
#include "kernel/memory_disk.h"
#include "kernel/units.h"
#include "tests/support/mounted.h"
#include "tests/support/sample_tree.h"
#include "tests/support/tree_snapshot.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kImageBytes = 8 * kMiB;

// One line of images/manifest.
struct Golden {
  std::string name;
  int fsck_status = 0;      // of fsck.weft -n
  int repaired_status = 0;  // of another after fsck.weft -y
  std::string words;        // that fsck must use; "-": none
};

std::vector<Golden> manifest() {
  std::vector<Golden> all;
  std::ifstream file("images/manifest");
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    Golden golden;
    words >> golden.name >> golden.fsck_status >> golden.repaired_status;
    std::getline(words >> std::ws, golden.words);
    all.push_back(std::move(golden));
  }
  return all;
}

// ---------------------------------------------------------------------------------------------------- making them

enum class Ending { kUnmounted, kCrashed };

DiskImage make_image(const std::string& label, std::uint64_t size_bytes, bool with_tree, Ending ending) {
  test::StepClock clock;
  MemoryDisk disk(size_bytes);
  EXPECT_OK(test::make_sample_volume(disk, label, clock));
  if (!with_tree) return disk.copy();
  auto mounted = test::mount_sample(disk, clock);
  EXPECT_OK(mounted);
  EXPECT_OK(test::make_sample_tree(**mounted));
  if (ending == Ending::kUnmounted) {
    EXPECT_OK((*mounted)->unmount());
    return disk.copy();
  }
  // The last checkpoint is of the tree; names and the orphan come after it, in the log alone.
  EXPECT_OK((*mounted)->volume().checkpoint());
  EXPECT_OK((*mounted)->rename(test::kRoot, kRootInode, "names", kRootInode, "renamed", 0));
  EXPECT_OK(test::make_sample_orphan(**mounted));
  EXPECT_OK((*mounted)->sync());
  return disk.copy();
}

void flip(MemoryDisk& disk, std::uint64_t offset) {
  AlignedBuffer block(kBlockBytes);
  ASSERT_OK(disk.read(round_down(offset, kBlockBytes), block.bytes()));
  block.bytes()[offset % kBlockBytes] ^= std::byte{0x10};
  ASSERT_OK(disk.write(round_down(offset, kBlockBytes), block.bytes()));
}

DiskImage damage(DiskImage image, const std::function<void(MemoryDisk&, const DiskSuperblock&)>& how) {
  MemoryDisk disk(std::move(image));
  how(disk, find_superblock(disk)->superblock);
  return disk.copy();
}

DiskImage make_golden(const std::string& name) {
  if (name == "empty") return make_image("empty", kMinVolumeBytes, false, Ending::kUnmounted);
  if (name == "recovery") return make_image("recovery", kImageBytes, true, Ending::kCrashed);
  const DiskImage tree = make_image("tree", kImageBytes, true, Ending::kUnmounted);
  if (name == "tree") return tree;
  if (name == "lost-superblocks") {
    return damage(tree, [](MemoryDisk& disk, const DiskSuperblock&) {
      AlignedBuffer zeros(2 * kBlockBytes);
      ASSERT_OK(disk.write(0, zeros.bytes()));
    });
  }
  if (name == "bad-root") {
    return damage(tree, [](MemoryDisk& disk, const DiskSuperblock& superblock) {
      flip(disk, superblock.root.block * kBlockBytes + 100);
    });
  }
  if (name == "bad-bitmap") {
    return damage(tree, [](MemoryDisk& disk, const DiskSuperblock& superblock) {
      for (std::uint32_t slot = 0; slot < 2; ++slot) {
        flip(disk, Layout(superblock).bitmap_block(0, slot).value() * kBlockBytes + 200);
      }
    });
  }
  ADD_FAILURE() << "no such image: " << name;
  return DiskImage(0);
}

std::vector<std::byte> content_of(const DiskImage& image) {
  std::vector<std::byte> bytes(image.size_bytes());
  image.read(0, bytes);
  return bytes;
}

Result<std::string> tree_of(const DiskImage& image) {
  MemoryDisk disk{DiskImage(image)};
  test::StepClock clock;
  const auto mounted = TRY(test::mount_sample(disk, clock, true));
  return test::describe(TRY(test::take_snapshot(*mounted)));
}

// ----------------------------------------------------------------------------------------------------- reading them

std::vector<std::byte> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

std::vector<std::byte> gunzip(std::vector<std::byte> packed) {
  std::vector<std::byte> bytes(64 * kMiB);
  inflate_state state;
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  state.next_in = reinterpret_cast<std::uint8_t*>(packed.data());
  state.avail_in = static_cast<std::uint32_t>(packed.size());
  state.next_out = reinterpret_cast<std::uint8_t*>(bytes.data());
  state.avail_out = static_cast<std::uint32_t>(bytes.size());
  EXPECT_EQ(isal_inflate(&state), ISAL_DECOMP_OK);
  EXPECT_EQ(state.block_state, ISAL_BLOCK_FINISH);
  bytes.resize(state.total_out);
  return bytes;
}

DiskImage load(const Golden& golden) {
  const std::vector<std::byte> bytes = gunzip(read_file("images/" + golden.name + ".img.gz"));
  DiskImage image(bytes.size());
  AlignedBuffer zeros(kBlockBytes);
  for (std::size_t at = 0; at + kBlockBytes <= bytes.size(); at += kBlockBytes) {
    if (std::memcmp(bytes.data() + at, zeros.bytes().data(), kBlockBytes) != 0) {
      image.write(at, std::span(bytes).subspan(at, kBlockBytes));
    }
  }
  return image;
}

class GoldenImages : public ::testing::Test {
 protected:
  void SetUp() override {
    all_ = manifest();
    if (all_.empty()) GTEST_SKIP() << "images/manifest is not here: run from the top folder";
  }
  std::vector<Golden> all_;
};

TEST_F(GoldenImages, AreWrittenWhereAsked) {
  const char* folder = std::getenv("WEFT_WRITE_IMAGES");
  if (folder == nullptr) GTEST_SKIP() << "WEFT_WRITE_IMAGES says where to";
  for (const Golden& golden : all_) {
    const DiskImage image = make_golden(golden.name);
    const std::vector<std::byte> bytes = content_of(image);
    const std::string path = std::string(folder) + "/" + golden.name;
    std::ofstream(path + ".img", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (const auto tree = tree_of(image)) std::ofstream(path + ".tree") << *tree;
  }
}

TEST_F(GoldenImages, AreTheSameBytesWheneverTheyAreMade) {
  for (const char* name : {"tree", "recovery"}) {
    EXPECT_EQ(make_golden(name).hash(), make_golden(name).hash()) << name;
  }
}

TEST_F(GoldenImages, ShowTheTreeThatWasWrittenIntoThem) {
  for (const Golden& golden : all_) {
    const std::vector<std::byte> expected = read_file("images/" + golden.name + ".tree");
    const auto tree = tree_of(load(golden));
    if (expected.empty()) {  // no such file
      EXPECT_FALSE(tree) << golden.name << " can be mounted, though it should be too damaged";
      continue;
    }
    ASSERT_TRUE(tree.has_value()) << golden.name << ": " << tree.error().message();
    EXPECT_EQ(*tree, std::string(reinterpret_cast<const char*>(expected.data()), expected.size())) << golden.name;
  }
}

TEST_F(GoldenImages, AreReportedByFsckAsWhatTheyAre) {
  for (const Golden& golden : all_) {
    MemoryDisk disk(load(golden));
    const auto report = check::check_volume(disk, {});
    ASSERT_TRUE(report.has_value()) << golden.name << ": " << report.error().message();
    EXPECT_EQ(report->clean() ? 0 : 4, golden.fsck_status) << golden.name;
    std::string said;
    for (const check::Finding& finding : report->findings) said += finding.message + "\n";
    if (golden.words != "-") {
      EXPECT_NE(said.find(golden.words), std::string::npos) << golden.name << ": " << said;
    }
    if (golden.fsck_status == 0) {
      EXPECT_EQ(said, "") << golden.name;
    }
  }
}

TEST_F(GoldenImages, AreWholeAfterOneRepairWhereThatIsPossible) {
  for (const Golden& golden : all_) {
    MemoryDisk disk(load(golden));
    check::CheckOptions repair;
    repair.repair = true;
    ASSERT_OK(check::check_volume(disk, repair));
    const auto again = check::check_volume(disk, {});
    ASSERT_OK(again);
    EXPECT_EQ(again->clean() ? 0 : 4, golden.repaired_status) << golden.name;
    const auto tree = tree_of(disk.copy());
    EXPECT_EQ(tree.has_value(), golden.repaired_status == 0) << golden.name;
    if (golden.name != "bad-root") continue;
    // Nothing was lost but the way to it.
    const std::vector<std::byte> whole = read_file("images/tree.tree");
    EXPECT_EQ(tree.value_or(""), std::string(reinterpret_cast<const char*>(whole.data()), whole.size()));
  }
}

}  // namespace
}  // namespace weft::fs
