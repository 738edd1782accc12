// fsck.weft as it is called: exit codes, and what it leaves alone.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "fs/superblock.h"
#include "fs/volume.h"
#include "kernel/units.h"
#include "tests/support/program.h"
#include "tools/open_disk.h"

namespace weft::tools {
namespace {

class Fsck : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/weft-fsck-XXXXXX";
    const int fd = ::mkstemp(name);
    ASSERT_GE(fd, 0);
    path_ = name;
    ASSERT_EQ(::ftruncate(fd, 8 * kMiB), 0);
    ::close(fd);
    auto opened = open_disk(path_, {});
    ASSERT_TRUE(opened) << opened.error().message();
    ASSERT_TRUE(fs::make_volume(*opened->disk, {}, 0, 0));
  }
  void TearDown() override { ::unlink(path_.c_str()); }

  // Exit status; what it says is in `said_`.
  int fsck(const std::string& options) { return run(options + " " + path_); }
  int run(const std::string& arguments) {
    auto end = test::run_program("fsck.weft", arguments);
    said_ = std::move(end.said);
    return end.status;
  }
  std::string content() {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void overwrite(std::uint64_t offset, const std::string& bytes) {
    std::fstream file(path_, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

  std::string path_;
  std::string said_;
};

TEST_F(Fsck, FindsNothingOnANewVolumeAndChangesNothing) {
  const std::string before = content();
  EXPECT_EQ(fsck("-n"), 0) << said_;
  EXPECT_NE(said_.find("clean, 1 inode, "), std::string::npos) << said_;
  EXPECT_EQ(fsck("-n -f"), 0) << said_;
  EXPECT_EQ(fsck("-p"), 0) << said_;
  EXPECT_EQ(fsck(""), 0) << said_;
  EXPECT_EQ(fsck("-a -T -C0"), 0) << said_;
  EXPECT_EQ(content(), before);
  EXPECT_EQ(fsck("-f -y"), 0) << said_;
  EXPECT_EQ(fsck("-n"), 0) << said_;
}

TEST_F(Fsck, SaysThatDamageIsThereAndRepairsItWhenTold) {
  overwrite(1 * 4096, std::string(4096, 'x'));
  const std::string before = content();
  EXPECT_EQ(fsck("-n"), 4) << said_;
  EXPECT_NE(said_.find("superblock copy 1 in block 1"), std::string::npos) << said_;
  EXPECT_EQ(content(), before);
  EXPECT_EQ(fsck("-n --json"), 4);
  EXPECT_NE(said_.find("\"class\": \"superblock-slot\""), std::string::npos) << said_;
  EXPECT_EQ(fsck("-y"), 1) << said_;
  EXPECT_EQ(fsck("-n"), 0) << said_;
}

TEST_F(Fsck, PreeningPlaysTheLogOfAVolumeThatWasNotUnmounted) {
  {
    auto opened = open_disk(path_, {});
    ASSERT_TRUE(opened);
    fs::VolumeOptions options;
    options.background = false;
    auto volume = fs::Volume::open(*opened->disk, options);
    ASSERT_TRUE(volume);  // and dropped: a crash
  }
  EXPECT_EQ(fsck("-n"), 0) << said_;
  EXPECT_EQ(fsck("-p"), 0) << said_;
  EXPECT_NE(said_.find("its log was replayed"), std::string::npos) << said_;
  EXPECT_EQ(fsck("-p"), 0) << said_;
  EXPECT_EQ(said_.find("its log was replayed"), std::string::npos) << said_;
}

// The lock of a server, or of another fsck that repairs.
TEST_F(Fsck, RefusesAVolumeThatIsInUseAndNamesWhoHasIt) {
  overwrite(1 * 4096, std::string(4096, 'x'));
  const std::string before = content();
  auto opened = open_disk(path_, {});
  ASSERT_TRUE(opened);
  EXPECT_EQ(fsck("-y"), 8);
  EXPECT_NE(said_.find("(process " + std::to_string(::getpid()) + ")"), std::string::npos) << said_;
  EXPECT_EQ(content(), before);
}

// One that only looks, as fsck.weft -n and weft info do, keeps out those that write and nobody else.
TEST_F(Fsck, RepairsNothingWhileAnotherLooks) {
  auto opened = open_disk(path_, {.read_only = true});
  ASSERT_TRUE(opened);
  EXPECT_EQ(fsck("-y"), 8) << said_;
  EXPECT_NE(said_.find("in use by"), std::string::npos) << said_;
  EXPECT_EQ(fsck("-n"), 0) << said_;
}

TEST_F(Fsck, TellsMachinesWhyItCouldNotLook) {
  EXPECT_EQ(run("-n --json /no/such/file 2>/dev/null"), 8);
  const auto json = nlohmann::json::parse(said_, nullptr, false);
  ASSERT_FALSE(json.is_discarded()) << said_;
  EXPECT_EQ(json["image"], "/no/such/file");
  EXPECT_EQ(json["exit_status"], 8);
  EXPECT_NE(json["error"].get<std::string>().find("No such file"), std::string::npos) << said_;
}

TEST_F(Fsck, RefusesWrongUsageAndWhatIsNoVolume) {
  EXPECT_EQ(fsck("-n -y"), 16) << said_;
  EXPECT_EQ(fsck("--no-such-option"), 16) << said_;
  EXPECT_EQ(run(""), 16) << said_;
  EXPECT_EQ(run("-n /no/such/file"), 8) << said_;
  EXPECT_EQ(run("--help"), 0) << said_;
  EXPECT_EQ(run("-V"), 0) << said_;
  overwrite(0, std::string(8 * kMiB, 'x'));
  EXPECT_EQ(fsck("-n"), 8) << said_;
  EXPECT_NE(said_.find("not a Weft volume"), std::string::npos) << said_;
}

}  // namespace
}  // namespace weft::tools
