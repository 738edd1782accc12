// What was once written stays readable, and what is broken is reported as what it is and repaired: images/, as images/manifest says.
//
// WEFT_WRITE_IMAGES=FOLDER makes the images there (make images), with what fsck.weft says of each and the tree it leaves.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "fs/check/check.h"
#include "kernel/memory_disk.h"
#include "tests/fs/golden_make.h"
#include "tests/support/golden_image.h"
#include "tests/support/mounted.h"
#include "tests/support/sample_tree.h"
#include "tools/check_report.h"

namespace weft::fs::test {
namespace {

using check::Problem;

class GoldenImages : public ::testing::Test {
 protected:
  void SetUp() override {
    all_ = golden_images();
    ASSERT_FALSE(all_.empty()) << "images/manifest is not here: run from the top folder";
  }
  std::vector<Golden> all_;
};

check::CheckReport check_golden(const Golden& golden, BlockDevice& disk, bool repair) {
  StepClock clock;
  auto report =
      check::check_volume(disk, {.repair = repair, .data = golden.with_data(), .progress = {}, .clock = &clock});
  EXPECT_OK(report);
  return report.value_or(check::CheckReport{});
}

std::string report_of(const Golden& golden, const DiskImage& image) {
  MemoryDisk disk{DiskImage(image)};
  return tools::describe_report(check_golden(golden, disk, false), {.image = image_name(golden)});
}

DiskImage repaired(const Golden& golden, const DiskImage& image) {
  MemoryDisk disk{DiskImage(image)};
  static_cast<void>(check_golden(golden, disk, true));
  return disk.copy();
}

TEST_F(GoldenImages, AreWrittenWhereAsked) {
  const char* folder = std::getenv("WEFT_WRITE_IMAGES");
  if (folder == nullptr) GTEST_SKIP() << "WEFT_WRITE_IMAGES says where to";
  for (const Golden& golden : all_) {
    const DiskImage image = make_golden(golden.name);
    std::vector<std::byte> bytes(image.size_bytes());
    image.read(0, bytes);
    const std::string path = std::string(folder) + "/" + golden.name;
    std::ofstream(path + ".img", std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    std::ofstream(path + ".report") << report_of(golden, image);
    const auto tree = tree_of(repaired(golden, image));
    ASSERT_OK(tree);
    std::ofstream(path + ".tree") << *tree;
  }
}

TEST_F(GoldenImages, AreTheSameBytesWheneverTheyAreMade) {
  for (const char* name : {"tree", "recovery", "log", "loop", "tree-node"}) {
    EXPECT_EQ(make_golden(name).hash(), make_golden(name).hash()) << name;
  }
}

TEST_F(GoldenImages, ShowTheirTreeUnrepairedWhereTheDamageLeavesIt) {
  for (const Golden& golden : all_) {
    SCOPED_TRACE(golden.name);
    const auto tree = tree_of(load(golden));
    if (golden.unrepaired == "error") {
      EXPECT_FALSE(tree) << "can be read, though it should be too damaged";
      continue;
    }
    ASSERT_OK(tree);
    EXPECT_EQ(*tree == golden_tree(golden.name), golden.unrepaired == "whole") << *tree;
  }
}

TEST_F(GoldenImages, AreReportedByFsckAsWhatTheyAre) {
  for (const Golden& golden : all_) {
    SCOPED_TRACE(golden.name);
    MemoryDisk disk(load(golden));
    const auto before = disk.copy().hash();
    EXPECT_EQ(tools::exit_status(check_golden(golden, disk, false)), golden.fsck_status);
    EXPECT_EQ(disk.copy().hash(), before) << "looking has changed it";
    EXPECT_EQ(report_of(golden, disk.copy()), golden_report(golden.name));
  }
}

// A class of damage without an image of its name, in which it is found, is one whose repair nobody has seen.
TEST_F(GoldenImages, ThereAreOfEachProblem) {
  for (std::size_t i = 0; i < check::kProblems; ++i) {
    const auto problem = static_cast<Problem>(i);
    const std::string name(check::name_of(problem));
    const auto golden = std::ranges::find(all_, name, &Golden::name);
    ASSERT_NE(golden, all_.end()) << "there is no golden image for " << name;
    MemoryDisk disk(load(*golden));
    const auto report = check_golden(*golden, disk, false);
    EXPECT_TRUE(std::ranges::any_of(report.findings, [&](const auto& finding) { return finding.problem == problem; }))
        << name << ": " << tools::describe_report(report, {.image = name});
  }
}

TEST_F(GoldenImages, AreWholeAfterOneRepair) {
  for (const Golden& golden : all_) {
    SCOPED_TRACE(golden.name);
    MemoryDisk disk(load(golden));
    const auto report = check_golden(golden, disk, true);
    EXPECT_EQ(tools::exit_status(report), golden.repair_status())
        << tools::describe_report(report, {.image = {}, .verbose = true});
    const auto again = check_golden(golden, disk, false);
    EXPECT_EQ(tools::exit_status(again), golden.repaired_status) << tools::describe_report(again, {});
    const auto tree = tree_of(disk.copy());
    ASSERT_OK(tree);
    EXPECT_EQ(*tree, golden_tree(golden.name));
  }
}

// Nothing was lost but the way to it.
TEST_F(GoldenImages, OfALostRootAreRepairedWithoutLoss) {
  EXPECT_EQ(golden_tree("bad-root"), golden_tree("tree"));
  EXPECT_EQ(golden_tree("lost-root"), golden_tree("bitmap"));
}

TEST_F(GoldenImages, CanBeUsedAfterTheRepair) {
  for (const Golden& golden : all_) {
    SCOPED_TRACE(golden.name);
    MemoryDisk disk(repaired(golden, load(golden)));
    const std::vector<std::byte> content(20'000, std::byte{7});
    StepClock clock;
    {
      const auto mounted = mount_sample(disk, clock);
      ASSERT_OK(mounted);
      const auto made = (*mounted)->make_node(kRoot, kRootInode, "written", {.mode = 0100644});
      ASSERT_OK(made);
      ASSERT_OK((*mounted)->write(made->inode, 0, content, false));
      (*mounted)->forget(made->inode, 1);
      ASSERT_OK((*mounted)->unmount());
    }
    const auto mounted = mount_sample(disk, clock, true);
    ASSERT_OK(mounted);
    const auto found = (*mounted)->lookup(kRootInode, "written");
    ASSERT_OK(found);
    std::vector<std::byte> read(content.size() + 1);
    const auto got = (*mounted)->read(found->inode, 0, read);
    ASSERT_OK(got);
    read.resize(*got);
    EXPECT_EQ(read, content);
    (*mounted)->forget(found->inode, 1);
    MemoryDisk copy(disk.copy());
    EXPECT_EQ(tools::exit_status(check_golden(golden, copy, false)), golden.repaired_status);
  }
}

}  // namespace
}  // namespace weft::fs::test
