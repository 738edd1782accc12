// posix_check.h - the small harness beneath the posix_*.cc programs.
//
// Every case runs in a process of its own (it may change uid, hang or die) inside a fresh folder of the file system
// under test, which is its working directory, and under an alarm. What Linux does on ext4 is what is asked for: each
// program passes there wholly.
//
// Usage: posix_NAMES DIR [--filter TEXT] [--long] [--quick] [--list] [--seed N]
#pragma once

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace posix_check {

struct Case {
  const char* name;
  void (*body)();
  bool is_long;
};
inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}
struct Register {
  Register(const char* name, void (*body)(), bool is_long) { cases().push_back({name, body, is_long}); }
};

inline int g_failures = 0;
inline std::uint64_t g_seed = 1;
inline bool g_quick = false;  // the same cases, the largest of them smaller
inline constexpr int kSkipStatus = 77;
inline constexpr unsigned kCaseSeconds = 120, kLongCaseSeconds = 1800;
inline constexpr uid_t kUser = 65521, kOtherUser = 65522;

inline void report(const char* file, int line, const char* what, int error) {
  std::printf("    %s:%d: %s (errno: %s)\n", file, line, what, error == 0 ? "none" : std::strerror(error));
  ++g_failures;
}
[[noreturn]] inline void skip(const char* why) {
  std::printf("    skipped: %s\n", why);
  std::fflush(stdout);
  _exit(kSkipStatus);
}
inline void need_root() {
  if (geteuid() != 0) skip("needs root");
}

// A file descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(const std::string& path, int flags, mode_t mode = 0644) : fd_(open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }
  void reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  operator int() const { return fd_; }  // NOLINT: read as the descriptor it is

 private:
  int fd_;
};

inline bool write_file(const std::string& path, const std::string& text, mode_t mode = 0644) {
  const Fd fd(path, O_WRONLY | O_CREAT | O_TRUNC, mode);
  return fd >= 0 && write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
}
inline std::string read_file(const std::string& path) {
  const Fd fd(path, O_RDONLY);
  std::string out;
  char piece[65536];
  ssize_t got = 0;
  while (fd >= 0 && (got = read(fd, piece, sizeof piece)) > 0) out.append(piece, static_cast<std::size_t>(got));
  return out;
}
inline struct stat stat_of(const std::string& path) {
  struct stat info{};
  if (lstat(path.c_str(), &info) != 0) report(__FILE__, __LINE__, ("lstat " + path).c_str(), errno);
  return info;
}
inline bool exists(const std::string& path) {
  struct stat info{};
  return lstat(path.c_str(), &info) == 0;
}

// Runs body in a child as another user; the child's failures are counted here. Groups are the supplementary ones.
inline void as_user(uid_t uid, const std::vector<gid_t>& groups, const std::function<void()>& body) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    g_failures = 0;
    if (setgroups(groups.size(), groups.data()) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0)
      report(__FILE__, __LINE__, "cannot become another user", errno);
    else
      body();
    std::fflush(stdout);
    _exit(g_failures == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) ++g_failures;
}

// xorshift64: repeatable from --seed.
struct Random {
  std::uint64_t state = g_seed * 0x9e3779b97f4a7c15ULL + 1;
  std::uint64_t next() {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
  }
  std::uint64_t below(std::uint64_t bound) { return next() % bound; }
};

// Bytes that differ from seed to seed.
inline std::string pattern(std::uint64_t seed, std::size_t size_bytes) {
  std::string out(size_bytes, '\0');
  Random random{seed * 77777 + 3};
  for (char& c : out) c = static_cast<char>(random.next() >> 32);
  return out;
}
inline bool all_zero(const std::string& text) { return text.find_first_not_of('\0') == std::string::npos; }
inline std::string read_at(int fd, off_t at, std::size_t size_bytes) {
  std::string out(size_bytes, 'x');
  const ssize_t got = pread(fd, out.data(), size_bytes, at);
  out.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return out;
}
inline off_t size_of(int fd) {
  struct stat info{};
  return fstat(fd, &info) == 0 ? info.st_size : -1;
}
// As the file system knows it; what stat(2) says of an open file may be a little older.
inline off_t used_bytes(int fd) {
  struct statx info{};
  fsync(fd);
  return statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BLOCKS, &info) == 0
             ? static_cast<off_t>(info.stx_blocks * 512)
             : -1;
}

inline void clear_flags(const std::string& dir) {
  const std::string command = "chattr -R -f -i -a " + dir + " >/dev/null 2>&1; rm -rf " + dir;
  if (std::system(command.c_str()) != 0) std::printf("    cannot remove %s\n", dir.c_str());
}

inline int run_all(int argc, char** argv) {
  std::string dir, filter;
  bool with_long = false;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--long") {
      with_long = true;
    } else if (argument == "--quick") {
      g_quick = true;
    } else if (argument == "--list") {
      for (const Case& each : cases()) std::printf("%s%s\n", each.name, each.is_long ? " (long)" : "");
      return 0;
    } else if (argument == "--filter" && i + 1 < argc) {
      filter = argv[++i];
    } else if (argument == "--seed" && i + 1 < argc) {
      g_seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      dir = argument;
    }
  }
  if (dir.empty() || chdir(dir.c_str()) != 0) {
    std::fprintf(stderr, "usage: %s DIR [--filter TEXT] [--long] [--quick] [--list] [--seed N]\n", argv[0]);
    return 2;
  }
  int passed = 0, failed = 0, skipped = 0, number = 0;
  for (const Case& each : cases()) {
    ++number;
    if (each.is_long && !with_long) continue;
    if (std::string(each.name).find(filter) == std::string::npos) continue;
    const std::string folder = "case." + std::to_string(getpid()) + "." + std::to_string(number);
    umask(0);
    if (mkdir(folder.c_str(), 0777) != 0) {
      std::printf("FAIL  %s\n    cannot make a folder: %s\n", each.name, std::strerror(errno));
      ++failed;
      continue;
    }
    umask(022);
    std::fflush(stdout);
    const auto begin = std::chrono::steady_clock::now();
    const pid_t child = fork();
    if (child == 0) {
      // Its own group, so that what it forked ends with it.
      setpgid(0, 0);
      alarm(each.is_long ? kLongCaseSeconds : kCaseSeconds);
      if (chdir(folder.c_str()) != 0) _exit(1);
      each.body();
      std::fflush(stdout);
      _exit(g_failures == 0 ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    kill(-child, SIGKILL);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
      ++passed;
      std::printf("ok    %s%s\n", each.name,
                  took.count() < 1 ? "" : (" (" + std::to_string(static_cast<int>(took.count())) + " s)").c_str());
    } else if (WIFEXITED(status) && WEXITSTATUS(status) == kSkipStatus) {
      ++skipped;
      std::printf("skip  %s\n", each.name);
    } else {
      ++failed;
      if (WIFSIGNALED(status))
        std::printf("    ended by signal %d%s\n", WTERMSIG(status),
                    WTERMSIG(status) == SIGALRM ? ": no end in time" : "");
      std::printf("FAIL  %s\n", each.name);
    }
    std::fflush(stdout);
    clear_flags(folder);
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed == 0 ? 0 : 1;
}

}  // namespace posix_check

#define POSIX_CASE_(id, name, is_long)                                        \
  static void case_##id();                                                    \
  static const posix_check::Register register_##id{name, case_##id, is_long}; \
  static void case_##id()
#define CASE(id, name) POSIX_CASE_(id, name, false)
#define LONG_CASE(id, name) POSIX_CASE_(id, name, true)

#define EXPECT(condition)                                                         \
  do {                                                                            \
    errno = 0;                                                                    \
    if (!(condition)) posix_check::report(__FILE__, __LINE__, #condition, errno); \
  } while (0)
#define REQUIRE(condition)                                        \
  do {                                                            \
    errno = 0;                                                    \
    if (!(condition)) {                                           \
      posix_check::report(__FILE__, __LINE__, #condition, errno); \
      return;                                                     \
    }                                                             \
  } while (0)
// The call fails, and with this errno.
#define EXPECT_ERRNO(call, error)                                                                     \
  do {                                                                                                \
    errno = 0;                                                                                        \
    if ((call) != -1)                                                                                 \
      posix_check::report(__FILE__, __LINE__, #call " should fail with " #error ", but succeeds", 0); \
    else if (errno != (error))                                                                        \
      posix_check::report(__FILE__, __LINE__, #call " should fail with " #error, errno);              \
  } while (0)
#define EXPECT_EQUAL(left, right)                                                      \
  do {                                                                                 \
    const auto left_value = (left);                                                    \
    const auto right_value = (right);                                                  \
    if (!(left_value == right_value)) {                                                \
      posix_check::report(__FILE__, __LINE__, #left " == " #right, 0);                 \
      std::printf("      left %lld, right %lld\n", static_cast<long long>(left_value), \
                  static_cast<long long>(right_value));                                \
    }                                                                                  \
  } while (0)
