#include "tools/open_disk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace weft::tools {
namespace {

class OpenDisk : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/weft-open-disk-XXXXXX";
    const int fd = ::mkstemp(name);
    ASSERT_GE(fd, 0);
    path_ = name;
    ASSERT_EQ(::ftruncate(fd, 1 << 20), 0);
    ::close(fd);
  }
  void TearDown() override { ::unlink(path_.c_str()); }
  std::string path_;
};

TEST_F(OpenDisk, GivesADiskOfTheFilesSize) {
  auto opened = open_disk(path_, {});
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_EQ(opened->disk->geometry().size_bytes, 1U << 20);
  EXPECT_FALSE(opened->disk->geometry().read_only);
}

TEST_F(OpenDisk, RefusesASecondWriterAndNamesTheFirst) {
  auto first = open_disk(path_, {});
  ASSERT_TRUE(first);
  auto second = open_disk(path_, {.patience = std::chrono::milliseconds(0)});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::kBusy);
  EXPECT_NE(second.error().message().find("(process " + std::to_string(::getpid()) + ")"), std::string::npos)
      << second.error().message();
  EXPECT_FALSE(open_disk(path_, {.read_only = true, .patience = std::chrono::milliseconds(0)}));
  first->lock.release();
  EXPECT_TRUE(open_disk(path_, {.patience = std::chrono::milliseconds(0)})) << "though the disk is still open";
}

TEST_F(OpenDisk, TakesOverALockThatOutlivesItsProcess) {
  int kept = -1;
  {
    auto first = open_disk(path_, {});
    ASSERT_TRUE(first);
    kept = ::dup(first->lock.fd());
    first->lock.share();
  }
  const OpenDiskOptions impatient{.patience = std::chrono::milliseconds(0)};
  EXPECT_FALSE(open_disk(path_, impatient)) << "between two servers";
  {
    auto next = open_disk(path_, {.held_lock = ::dup(kept)});
    ASSERT_TRUE(next) << next.error().message();
    EXPECT_FALSE(open_disk(path_, impatient));
  }
  EXPECT_FALSE(open_disk(path_, impatient)) << "a server that could not begin leaves it";
  auto last = open_disk(path_, {.held_lock = ::dup(kept)});
  ASSERT_TRUE(last);
  last->lock.release();
  EXPECT_TRUE(open_disk(path_, impatient)) << "unmounted";
  ::close(kept);
}

TEST_F(OpenDisk, DoesNotTakeOverTheLockOfAnotherFile) {
  auto first = open_disk(path_, {});
  ASSERT_TRUE(first);
  ASSERT_EQ(::rename(path_.c_str(), (path_ + ".moved").c_str()), 0);
  const int fd = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  ASSERT_EQ(::ftruncate(fd, 1 << 20), 0);
  ::close(fd);
  const auto other = open_disk(path_, {.held_lock = first->lock.fd()});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code(), Errc::kInvalid);
  ::unlink((path_ + ".moved").c_str());
}

TEST_F(OpenDisk, LetsReadersShare) {
  auto first = open_disk(path_, {.read_only = true});
  ASSERT_TRUE(first);
  EXPECT_TRUE(open_disk(path_, {.read_only = true, .patience = std::chrono::milliseconds(0)}));
}

TEST_F(OpenDisk, RefusesDirectoriesAndWhatIsNotThere) {
  EXPECT_EQ(open_disk("/tmp", {}).error().code(), Errc::kInvalid);
  EXPECT_EQ(open_disk(path_ + ".none", {}).error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace weft::tools
