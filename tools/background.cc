#include "tools/background.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace weft::tools {

namespace {

[[noreturn]] void wait_for_report(int pipe, pid_t child, std::string_view program) {
  std::string text;
  char part[1024];
  for (;;) {
    const ssize_t count = ::read(pipe, part, sizeof part);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    text.append(part, static_cast<std::size_t>(count));
  }
  if (text.empty()) {
    int status = 0;
    ::waitpid(child, &status, 0);
    text = std::string(1, '\x20') + std::string(program) + ": the server died before the mount was up";
    if (WIFSIGNALED(status)) text += std::string(" (") + ::sigdescr_np(WTERMSIG(status)) + ")";
    text += "\n";
  }
  // The first byte is the status; 32 is a space.
  const int exit_status = static_cast<unsigned char>(text[0]);
  std::fwrite(text.data() + 1, 1, text.size() - 1, stderr);
  std::fflush(stderr);
  ::_exit(exit_status);
}

}  // namespace

Result<Background> Background::fork_off(std::string_view program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return fail(Error::from_errno(errno, "pipe"));
  const pid_t child = ::fork();
  if (child < 0) return fail(Error::from_errno(errno, "fork"));
  if (child > 0) {
    ::close(ends[1]);
    wait_for_report(ends[0], child, program);
  }
  ::close(ends[0]);
  ::setsid();
  if (::chdir("/") != 0) return fail(Error::from_errno(errno, "chdir /"));
  Background background;
  background.pipe_ = ends[1];
  background.null_ = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  return background;
}

Background::~Background() {
  for (const int fd : {pipe_, null_}) {
    if (fd >= 0) ::close(fd);
  }
}

void Background::leave_report_to_parent() {
  if (pipe_ >= 0) ::close(std::exchange(pipe_, -1));
}

void Background::leave_terminal() {
  for (const int fd : {0, 1, 2}) ::dup2(null_, fd);
}

void Background::report(int exit_status, std::string_view message) {
  std::string text(message);
  if (!text.empty()) text += '\n';
  if (pipe_ < 0) {
    std::fwrite(text.data(), 1, text.size(), stderr);
    return;
  }
  text.insert(text.begin(), static_cast<char>(exit_status));
  if (exit_status == 0) leave_terminal();
  static_cast<void>(::write(pipe_, text.data(), text.size()) < 0);
  ::close(std::exchange(pipe_, -1));
}

}  // namespace weft::tools
