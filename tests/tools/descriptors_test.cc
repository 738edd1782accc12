// The life of a server, from opening its image to the end of its connection, again and again and also when it fails half-way: what
// was opened is closed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "fs/file_system.h"
#include "fs/fuse/device_transport.h"
#include "fs/fuse/session.h"
#include "kernel/units.h"
#include "sched/runtime.h"
#include "tools/open_disk.h"

namespace weft::tools {
namespace {

std::ptrdiff_t descriptors() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), std::filesystem::directory_iterator());
}

enum class End { kWhole, kNoVolume, kNoImage, kSecondServer };

// As tools/mount_server.cc, with a socket for the kernel.
Status serve(const std::string& image, End end) {
  OpenedDisk opened = TRY(open_disk(end == End::kNoImage ? image + ".none" : image, {}));
  if (end == End::kSecondServer) {
    const auto second = open_disk(image, {.patience = std::chrono::milliseconds(0)});
    EXPECT_FALSE(second);
  }
  auto file_system = TRY(fs::FileSystem::mount(*opened.disk, {}));
  fs::fuse::Session session(*file_system, {});
  int ends[2];
  EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
  const auto descriptors = TRY(fs::fuse::clone_connection(ends[0], 2));
  auto transport = TRY(fs::fuse::DeviceTransport::start(descriptors, session));
  ::close(ends[1]);
  transport->wait();
  return session.finish();
}

TEST(Descriptors, NothingStaysOpenAfterAServerWhateverItsEnd) {
  char name[] = "/tmp/weft-descriptors-XXXXXX";
  const int fd = ::mkstemp(name);
  ASSERT_GE(fd, 0);
  ASSERT_EQ(::ftruncate(fd, 8 * kMiB), 0);
  ::close(fd);
  const std::string empty = std::string(name) + ".empty";
  std::filesystem::copy_file(name, empty);
  const std::ptrdiff_t before = descriptors();
  for (int life = 0; life < 10; ++life) {
    auto runtime = sched::Runtime::create({.name = "test", .workers = 2});
    ASSERT_TRUE(runtime);
    const Status lived = runtime->block_on([&]() -> Status {
      if (life == 0) {
        OpenedDisk opened = TRY(open_disk(name, {}));
        return fs::make_volume(*opened.disk, {}, 0, 0);
      }
      for (int i = 0; i < 5; ++i) {
        EXPECT_TRUE(serve(name, End::kWhole));
        EXPECT_EQ(serve(empty, End::kNoVolume).error().code(), Errc::kWrongFormat);
        EXPECT_EQ(serve(name, End::kNoImage).error().code(), Errc::kNotFound);
        EXPECT_TRUE(serve(name, End::kSecondServer));
      }
      return {};
    });
    EXPECT_TRUE(lived) << lived.error().message();
  }
  EXPECT_EQ(descriptors(), before);
  ::unlink(name);
  ::unlink(empty.c_str());
}

}  // namespace
}  // namespace weft::tools
