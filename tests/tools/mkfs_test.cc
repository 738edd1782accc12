// mkfs.weft as its users call it: the program itself, on image files in a folder of its own.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "fs/superblock.h"
#include "tests/support/program.h"
#include "tools/open_disk.h"

namespace weft::tools {
namespace {

class Mkfs : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/weft-mkfs-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    image_ = folder_ + "/image";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static test::ProgramEnd mkfs(const std::string& words) { return test::run_program("mkfs.weft", words); }
  fs::DiskSuperblock superblock() {
    auto opened = open_disk(image_, {.read_only = true});
    EXPECT_TRUE(opened) << opened.error().message();
    auto found = fs::find_superblock(*opened->disk);
    EXPECT_TRUE(found) << found.error().message();
    return found->superblock;
  }
  std::string folder_;
  std::string image_;
};

TEST_F(Mkfs, MakesASparseImageWithLabelAndUuid) {
  const test::ProgramEnd made =
      mkfs(image_ + " --size 64M -L 'blue whale' -U 12345678-1234-4234-8234-123456789abc --owner 12:34");
  ASSERT_EQ(made.status, 0) << made.said;
  EXPECT_NE(made.said.find("64 MiB"), std::string::npos) << made.said;
  const fs::DiskSuperblock superblock = this->superblock();
  EXPECT_EQ(superblock.block_count, (64U << 20) / fs::kBlockBytes);
  EXPECT_STREQ(reinterpret_cast<const char*>(superblock.label), "blue whale");
  EXPECT_EQ(superblock.uuid.bytes[0], 0x12);
  EXPECT_EQ(superblock.uuid.bytes[15], 0xbc);
  struct stat facts{};
  ASSERT_EQ(::stat(image_.c_str(), &facts), 0);
  EXPECT_LT(facts.st_blocks * 512, 1 << 20);
}

TEST_F(Mkfs, LeavesAFileSystemAloneUnlessForced) {
  ASSERT_EQ(mkfs(image_ + " --size 16M").status, 0);
  const fs::DiskUuid first = superblock().uuid;
  const test::ProgramEnd refused = mkfs(image_);
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.said.find("a weft file system; to overwrite it: --force"), std::string::npos) << refused.said;
  EXPECT_EQ(superblock().uuid, first);
  EXPECT_EQ(mkfs(image_ + " --force --dry-run").status, 0);
  EXPECT_EQ(superblock().uuid, first) << "a dry run wrote";
  EXPECT_EQ(mkfs(image_ + " --force").status, 0);
  EXPECT_NE(superblock().uuid, first);
}

TEST_F(Mkfs, SeesAVolumeOfWhichOnlyTheLastSuperblocksAreLeft) {
  ASSERT_EQ(mkfs(image_ + " --size 16M").status, 0);
  {
    std::fstream file(image_, std::ios::in | std::ios::out | std::ios::binary);
    file << std::string(8192, '\0');
  }
  const test::ProgramEnd refused = mkfs(image_);
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.said.find("a weft file system"), std::string::npos) << refused.said;
}

TEST_F(Mkfs, KnowsWhatOthersWrite) {
  // The one thing that marks a swap area: ten bytes at the end of its first page.
  std::string swap(1 << 23, '\0');
  swap[1024] = 1;     // version
  swap[1029] = 0x07;  // last page
  swap.replace(4096 - 10, 10, "SWAPSPACE2");
  std::ofstream(image_, std::ios::binary) << swap;
  const test::ProgramEnd refused = mkfs(image_);
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.said.find("swap"), std::string::npos) << refused.said;
}

TEST_F(Mkfs, DoesNotOverwriteAFileThatIsNotBlank) {
  std::string letter = "Dear Ada,";
  letter.resize(1 << 23, '\0');
  std::ofstream(image_, std::ios::binary) << letter;
  EXPECT_EQ(mkfs(image_).status, 1);
  EXPECT_EQ(mkfs(image_ + " -f").status, 0);
}

TEST_F(Mkfs, CutsAFileOnlyWhenForced) {
  ASSERT_EQ(mkfs(image_ + " --size 32M").status, 0);
  EXPECT_EQ(mkfs(image_ + " --size 16M").status, 1);
  EXPECT_EQ(std::filesystem::file_size(image_), 32U << 20);
  EXPECT_EQ(mkfs(image_ + " --size 16M -f").status, 0);
  EXPECT_EQ(std::filesystem::file_size(image_), 16U << 20);
}

TEST_F(Mkfs, LeavesNothingBehindWhenItFails) {
  EXPECT_EQ(mkfs(image_ + " --size 16M --log-size 15M").status, 1);
  EXPECT_FALSE(std::filesystem::exists(image_));
  EXPECT_EQ(mkfs(image_ + " --size 1M").status, 1);
  EXPECT_FALSE(std::filesystem::exists(image_));
}

TEST_F(Mkfs, RefusesAnImageThatIsInUse) {
  ASSERT_EQ(mkfs(image_ + " --size 16M").status, 0);
  const auto user = open_disk(image_, {});
  const test::ProgramEnd refused = mkfs(image_ + " --force");
  EXPECT_EQ(refused.status, 1);
  EXPECT_NE(refused.said.find("in use by"), std::string::npos) << refused.said;
}

TEST_F(Mkfs, TellsWrongUsageFromFailure) {
  EXPECT_EQ(mkfs("").status, 2);
  EXPECT_EQ(mkfs("--no-such-option x").status, 2);
  EXPECT_EQ(mkfs(image_).status, 1);
  EXPECT_EQ(mkfs("--help").status, 0);
  EXPECT_EQ(mkfs(image_ + " --size 16M --uuid x").status, 1);
  EXPECT_EQ(mkfs(image_ + " --size 16M --label " + std::string(65, 'x')).status, 1);
  EXPECT_EQ(mkfs(image_ + " --size 16M -O quantum").status, 1);
  EXPECT_FALSE(std::filesystem::exists(image_));
}

}  // namespace
}  // namespace weft::tools
