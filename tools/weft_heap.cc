// tools/weft_heap.cc - `weft heap`: asks a running process for the numbers of its heap, at the socket that it was told to open.
#include <cxxabi.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

#include "mem/options.h"
#include "tools/weft_commands.h"

namespace weft::tools {
namespace {

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

bool is_number(const std::string& text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

// What the process was started with; it may have changed its environment since, and the kernel still shows this.
Result<std::string> environment_of(const std::string& process) {
  struct stat facts{};
  if (::stat(("/proc/" + process).c_str(), &facts) != 0) return fail(Errc::kNotFound, "there is no process " + process);
  const std::string path = "/proc/" + process + "/environ";
  std::ifstream file(path, std::ios::binary);
  if (!file) return fail(Error::from_errno(errno, "process " + process + " is another user's: " + path));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

Result<std::string> socket_of(const std::string& process) {
  const std::string environment = TRY(environment_of(process));
  constexpr std::string_view kName = "WEFT_HEAP=";
  std::string asked;
  for (std::size_t at = 0; at < environment.size(); at = environment.find('\0', at) + 1) {
    const std::string_view each = environment.c_str() + at;
    if (each.starts_with(kName)) asked = each.substr(kName.size());
    if (environment.find('\0', at) == std::string::npos) break;
  }
  mem::Options options;
  mem::parse_options(std::span(asked.data(), asked.size() + 1), true, options, [](const char*, std::string_view) {});
  if (options.stats == nullptr) {
    return fail(Errc::kUnsupported, fmt::format("process {} was not started with stats=SOCKET in WEFT_HEAP; see "
                                                "libweft-mem(7)",
                                                process));
  }
  std::array<char, 4096> path{};
  if (!mem::expand_path(options.stats, static_cast<pid_t>(std::strtol(process.c_str(), nullptr, 10)), path))
    return fail(Errc::kInvalid, std::string(options.stats) + ": too long for a path");
  // Relative to where it was started, which nobody knows any more.
  return std::string(path.data());
}

Error cannot_connect(int error, const std::string& path) {
  if (error == ENOENT) return Error(Errc::kNotFound, path + ": there is no such socket; has the process ended?");
  if (error == ECONNREFUSED)
    return Error(Errc::kNotFound, path + ": nobody answers: the process has ended, or this is no socket");
  return Error::from_errno(error, path);
}

}  // namespace

std::string demangled(const std::string& text) {
  std::string readable;
  for (std::size_t at = 0;;) {
    const std::size_t before = text.find(" _Z", at);
    if (before == std::string::npos) return readable.append(text, at);
    const std::size_t name = before + 1;
    readable.append(text, at, name - at);
    at = std::min(text.find_first_of("+ \n", name), text.size());
    const std::string mangled = text.substr(name, at - name);
    int status = -1;
    const std::unique_ptr<char, decltype(&std::free)> words(
        abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status), &std::free);
    readable += status == 0 && words != nullptr ? words.get() : mangled;
  }
}

Result<std::string> ask_heap(const std::string& process_or_socket, std::string_view question,
                             std::chrono::seconds patience) {
  std::string path = process_or_socket;
  if (is_number(path)) path = TRY(socket_of(path));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path))
    return fail(Errc::kInvalid, path + ": a socket's path has at most 107 bytes");
  path.copy(address.sun_path, path.size());
  const Descriptor to{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (to.fd < 0) return fail(Error::from_errno(errno, "socket"));
  const timeval limit{.tv_sec = patience.count(), .tv_usec = 0};
  ::setsockopt(to.fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(to.fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  if (::connect(to.fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return fail(cannot_connect(errno, path));
  const std::string line = std::string(question) + "\n";
  if (::send(to.fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size()))
    return fail(Error::from_errno(errno, "ask " + path));
  std::string answer;
  std::array<char, 16384> part;
  for (;;) {
    const ssize_t count = ::recv(to.fd, part.data(), part.size(), 0);
    if (count == 0) break;
    if (count > 0) {
      answer.append(part.data(), static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      return fail(Errc::kTimedOut, fmt::format("{}: no answer within {} s: the process is stopped, or its heap hangs",
                                               path, patience.count()));
    } else if (errno != EINTR) {
      return fail(Error::from_errno(errno, "answer of " + path));
    }
  }
  constexpr std::string_view kWell = "ok\n", kError = "error: ";
  if (answer.starts_with(kWell)) return answer.substr(kWell.size());
  if (answer.starts_with(kError))
    return fail(Errc::kUnsupported, answer.substr(kError.size(), answer.find('\n') - kError.size()));
  return fail(Errc::kUnsupported, path + ": who answers there is not a heap of Weft's");
}

}  // namespace weft::tools
