// tools/unmounter.h - takes the mount away for a server that may not do so itself any more.
//
//   server, at SIGTERM -> [unmounter: a process of its own] -> umount(2), or fusermount3 for an ordinary user
//
// umount(2) wants CAP_SYS_ADMIN, which is all but everything. So it stays in a process that was forked while the server was young, that
// opens no image, reads no request of the file system, and can be asked for two things: to unmount this directory, now or lazily.
// It keeps CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH (the way to the directory), heeds no signal but SIGKILL, and ends with the server.
// Tests: tests/tools/unmounter_test.cc, tests/e2e/mount.sh.
#pragma once

#include <sys/types.h>

#include <string>
#include <utility>

#include "kernel/result.h"

namespace weft::tools {

class Unmounter {
 public:
  // Before any other thread exists.
  static Result<Unmounter> start(const std::string& directory);
  Unmounter(Unmounter&& other) noexcept
      : socket_(std::exchange(other.socket_, -1)), process_(std::exchange(other.process_, -1)) {}
  Unmounter& operator=(Unmounter&&) = delete;
  ~Unmounter();

  // As fs::fuse::unmount(), and blocks the thread as that does. kClosed if the process is gone.
  Status unmount(bool lazy);

 private:
  Unmounter(int socket, pid_t process) noexcept : socket_(socket), process_(process) {}
  int socket_ = -1;
  pid_t process_ = -1;
};

}  // namespace weft::tools
