// mem/control_socket.cc - see control_socket.h.
#include "mem/control_socket.h"

#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "mem/allocate.h"
#include "mem/options.h"
#include "mem/own_thread.h"
#include "mem/profile.h"
#include "mem/report.h"
#include "mem/seldom.h"
#include "mem/text_file.h"

namespace weft::mem {
namespace {

struct Service {
  const char* pattern = nullptr;
  int socket = -1;
  std::uint64_t cookie = 0;  // the kernel's name of the socket: descriptors are closed and used anew
  pid_t process = 0;
  sockaddr_un address{};
};
constinit Service service;

bool is_ours(int descriptor) noexcept {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  return getsockopt(descriptor, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 && cookie == service.cookie;
}

void tell_numbers(TextFile& to, ReportFormat format) noexcept {
  WEFT_SELDOM static constinit std::array<char, kReportBytes> text{};  // one thread
  write_report(format, text);
  to.add_text(text.data());
}

void answer(std::string_view question, TextFile& to) noexcept {
  const bool of_samples = question == "profile" || question == "holders";
  if (of_samples && !is_profiling()) {
    to.add_text("error: the process does not sample: WEFT_HEAP had no profile, leaks or sample at its start\n");
    return;
  }
  struct Known {
    std::string_view question;
    void (*tell)(TextFile& to) noexcept;
  };
  static constexpr std::array<Known, 6> kQuestions{{
      {"text", [](TextFile& into) noexcept { tell_numbers(into, ReportFormat::kText); }},
      {"json", [](TextFile& into) noexcept { tell_numbers(into, ReportFormat::kJson); }},
      {"prometheus", [](TextFile& into) noexcept { tell_numbers(into, ReportFormat::kPrometheus); }},
      {"profile", &add_profile},
      {"holders", &add_holders},
      {"purge", [](TextFile& into) noexcept { into.add("%zu\n", trim(0)); }},
  }};
  for (const Known& each : kQuestions) {
    if (each.question != question) continue;
    to.add_text("ok\n");
    each.tell(to);
    return;
  }
  to.add_text("error: no such question; there are text, json, prometheus, profile, holders, purge\n");
}

void serve_one(int connection) noexcept {
  // Who asks and does not go on must not keep others waiting.
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  std::array<char, 64> line{};
  std::size_t length = 0;
  while (length < line.size()) {
    const ssize_t count = recv(connection, line.data() + length, line.size() - length, 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    length += static_cast<std::size_t>(count);
    const std::size_t end = std::string_view(line.data(), length).find('\n');
    if (end == std::string_view::npos) continue;
    TextFile to(connection);
    answer({line.data(), end}, to);
    return;
  }
}

void run() noexcept {
  const int listening = service.socket;
  while (is_ours(listening)) {
    const int connection = accept4(listening, nullptr, nullptr, SOCK_CLOEXEC);
    if (connection >= 0) {
      serve_one(connection);
      close(connection);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
      usleep(100000);
    } else if (errno != EINTR && errno != ECONNABORTED) {
      break;
    }
  }
}

constexpr OwnThread kThread{.name = "weft-heap", .body = &run};

enum class There { kNobody, kSomebody, kNoSocket };

// Who is at the path.
There look() noexcept {
  struct stat facts{};
  if (lstat(service.address.sun_path, &facts) != 0) return There::kNobody;
  if (!S_ISSOCK(facts.st_mode)) return There::kNoSocket;
  const int asks = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool answers =
      connect(asks, reinterpret_cast<const sockaddr*>(&service.address), sizeof service.address) == 0 ||
      errno == EAGAIN;
  close(asks);
  return answers ? There::kSomebody : There::kNobody;
}

const char* open_socket() noexcept {
  service.process = 0;
  service.address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (!expand_path(service.pattern, getpid(), service.address.sun_path)) return "a socket's path has at most 107 bytes";
  switch (look()) {
    case There::kNoSocket: return "there is a file that is no socket";
    case There::kSomebody: return nullptr;
    case There::kNobody: unlink(service.address.sun_path);
  }
  service.socket = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (service.socket < 0) return strerrordesc_np(errno);
  socklen_t length = sizeof service.cookie;
  getsockopt(service.socket, SOL_SOCKET, SO_COOKIE, &service.cookie, &length);
  // Nobody connects before listen(), so nobody does with another mode.
  if (bind(service.socket, reinterpret_cast<const sockaddr*>(&service.address), sizeof service.address) != 0 ||
      chmod(service.address.sun_path, 0600) != 0 || listen(service.socket, 8) != 0 || !start_own_thread(kThread)) {
    const int error = errno;
    close(service.socket);
    return strerrordesc_np(error);
  }
  service.process = getpid();
  return nullptr;
}

void after_fork_in_child() noexcept {
  if (service.process == 0) return;
  // Else the socket would seem alive as long as this process.
  if (is_ours(service.socket)) close(service.socket);
  service.process = 0;
  if (std::strstr(service.pattern, "%p") != nullptr) open_socket();
}

}  // namespace

const char* serve_numbers(const char* path) noexcept {
  if (service.pattern == nullptr) pthread_atfork(nullptr, nullptr, &after_fork_in_child);
  service.pattern = path;
  return open_socket();
}

void stop_serving() noexcept {
  if (service.process == getpid()) unlink(service.address.sun_path);
}

}  // namespace weft::mem
