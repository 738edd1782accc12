#include "tools/unmounter.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "fs/fuse/mount.h"
#include "tools/capabilities.h"

namespace weft::tools {

namespace {

// One packet each way.
enum class Wish : std::uint8_t { kUnmount, kUnmountLazily };

struct Answer {
  bool done = false;
  Errc why = Errc::kInternal;
  char message[500] = {};  // cut, if it is longer
};

// Nothing of the server's stays open here: neither the pipe that tells its caller how it went nor a lock.
int keep_only(int socket) {
  constexpr int kKept = 3;
  const int high = ::fcntl(socket, F_DUPFD_CLOEXEC, 10);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {0, 1, 2}) ::dup2(null, fd);
  ::dup3(high, kKept, O_CLOEXEC);
  ::closefrom(kKept + 1);
  return kKept;
}

[[noreturn]] void serve(int socket, const std::string& directory) {
  socket = keep_only(socket);
  ::prctl(PR_SET_NAME, "weft-unmount");
  static_cast<void>(::chdir("/") == 0);
  if (::geteuid() == 0) {  // an ordinary user's helper is setuid
    const CapabilitySet kept = capabilities() & (capability_bit(CAP_SYS_ADMIN) | capability_bit(CAP_DAC_READ_SEARCH));
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    static_cast<void>(set_capabilities({.effective = kept, .permitted = kept}));
  }
  Wish wish{};
  while (::recv(socket, &wish, sizeof wish, 0) == static_cast<ssize_t>(sizeof wish)) {
    const Status unmounted = fs::fuse::unmount(directory, wish == Wish::kUnmountLazily);
    Answer answer;
    answer.done = unmounted.has_value();
    if (!unmounted) {
      answer.why = unmounted.error().code();
      const std::string text = unmounted.error().message();
      text.copy(answer.message, std::min(text.size(), sizeof answer.message - 1));
    }
    if (::send(socket, &answer, sizeof answer, MSG_NOSIGNAL) < 0) break;
  }
  ::_exit(0);
}

}  // namespace

Result<Unmounter> Unmounter::start(const std::string& directory) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return fail(Error::from_errno(errno, "socketpair"));
  }
  // What stops the server, or its whole group, is not for that process: it is needed then. Held back until it says so.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t process = ::fork();
  const int error = errno;
  if (process == 0) {
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGPIPE}) std::signal(number, SIG_IGN);
  }
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (process == 0) serve(ends[1], directory);
  ::close(ends[1]);
  Unmounter made(ends[0], process);
  if (process < 0) return fail(Error::from_errno(error, "fork"));
  return made;
}

Unmounter::~Unmounter() {
  if (socket_ >= 0) ::close(socket_);
  if (process_ > 0) {
    while (::waitpid(process_, nullptr, 0) < 0 && errno == EINTR) {}
  }
}

Status Unmounter::unmount(bool lazy) {
  const Wish wish = lazy ? Wish::kUnmountLazily : Wish::kUnmount;
  Answer answer;
  ssize_t count = ::send(socket_, &wish, sizeof wish, MSG_NOSIGNAL);
  if (count > 0) {
    do count = ::recv(socket_, &answer, sizeof answer, 0);
    while (count < 0 && errno == EINTR);
  }
  if (count != static_cast<ssize_t>(sizeof answer)) {
    return fail(Errc::kClosed, "the process that unmounts is gone; use umount(8), and the server will end");
  }
  if (answer.done) return {};
  answer.message[sizeof answer.message - 1] = '\0';
  return fail(answer.why, answer.message);
}

}  // namespace weft::tools
