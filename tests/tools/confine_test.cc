// What a confined process can still do and what it cannot, each tried in a child.
#include "tools/confine.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "kernel/metrics.h"
#include "kernel/uring.h"
#include "mem/control_socket.h"
#include "mem/own_thread.h"
#include "sched/file_disk.h"
#include "sched/offload.h"
#include "sched/runtime.h"
#include "tests/support/child.h"
#include "tests/support/sanitizer.h"
#include "tools/capabilities.h"
#include "tools/metrics_file.h"
#include "tools/open_disk.h"

#if __has_include(<seccomp.h>)
#include <seccomp.h>
#endif

namespace weft::tools {
namespace {

constexpr const char* kNotHere = "not here: ";

// What confine() could not do, as a child says it: a reason to skip the test where the machine lacks Landlock or seccomp, else a fault.
std::string unless_confined(const Result<Confinement>& done) {
  if (!done) return done.error().message();
  if (done->missing.empty()) return {};
  const bool ours = done->missing.find("capabilities") != std::string::npos;
  return (ours ? "not confined: " : kNotHere) + done->missing;
}

class Confined : public ::testing::Test {
 protected:
  void SetUp() override {
    if (test::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer has a thread that takes no signal, and so is refused";
    char name[] = "/tmp/weft-confine-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
    std::ofstream(file()) << "content";
    ASSERT_EQ(::truncate(file().c_str(), 1 << 20), 0);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file() const { return folder_ + "/file"; }

  // `body` in a child that has been confined; `written` as confine() takes it.
  test::ChildEnd confined(std::function<std::string()> body, const std::string& written = {}) {
    return test::in_child([&]() -> std::string {
      if (const std::string missing = unless_confined(confine(Confine::kAuto, written)); !missing.empty())
        return missing;
      return body();
    });
  }
  std::string folder_;
};

#define EXPECT_FINE(end)                                              \
  {                                                                   \
    const test::ChildEnd ended = (end);                               \
    if (ended.said.starts_with(kNotHere)) GTEST_SKIP() << ended.said; \
    EXPECT_EQ(ended.said, "");                                        \
    EXPECT_EQ(ended.signal, 0);                                       \
  }

// "CapEff:" -> "0000000000000000"
std::string status_of(const std::string& task, const std::string& field) {
  std::ifstream file(task + "/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(field)) return line.substr(std::min(line.size(), line.find_first_not_of(" \t", field.size())));
  return {};
}

std::string complaint_about_threads(const std::vector<pid_t>& threads) {
  for (const pid_t thread : threads) {
    const std::string task = "/proc/self/task/" + std::to_string(thread);
    for (const char* set : {"CapEff:", "CapPrm:", "CapInh:", "CapAmb:"})
      if (status_of(task, set) != "0000000000000000") return set + status_of(task, set);
    if (status_of(task, "NoNewPrivs:") != "1") return "new privileges";
    if (status_of(task, "Seccomp:") != "2") return "no filter";
  }
  return {};
}

bool fails(long result, int os_errno) { return result < 0 && errno == os_errno; }

TEST_F(Confined, EveryThreadHasLostItsPrivilegesOldOrNew) {
  EXPECT_FINE(test::in_child([]() -> std::string {
    std::atomic<pid_t> old{0};
    std::atomic<bool> stop{false};
    std::thread before([&] {
      old.store(::gettid());
      while (!stop.load()) std::this_thread::yield();
    });
    while (old.load() == 0) std::this_thread::yield();
    std::string complaint = unless_confined(confine(Confine::kAuto, {}));
    if (complaint.empty()) complaint = complaint_about_threads({::getpid(), old.load()});
    std::thread([&] {
      if (complaint.empty()) complaint = complaint_about_threads({::gettid()});
    }).join();
    stop.store(true);
    before.join();
    return complaint;
  }));
}

TEST_F(Confined, FilesAreNeitherWrittenNorReadButForProc) {
  EXPECT_FINE(confined([this]() -> std::string {
    if (!fails(::open(file().c_str(), O_RDONLY), EACCES)) return "read";
    if (::open(file().c_str(), O_WRONLY) >= 0) return "written";
    if (::open((folder_ + "/new").c_str(), O_WRONLY | O_CREAT, 0600) >= 0) return "made";
    if (::unlink(file().c_str()) == 0 || ::rename(file().c_str(), (folder_ + "/other").c_str()) == 0) return "removed";
    if (::open("/dev/null", O_RDWR) >= 0) return "a device";
    if (status_of("/proc/" + std::to_string(::getppid()), "CapEff:").empty())
      return "another process's status cannot be read";
    return {};
  }));
}

TEST_F(Confined, NoWayRoundByIoUring) {
  EXPECT_FINE(test::in_child([this]() -> std::string {
    // One that was made before and takes every request, with a worker of the kernel's that was made before, too.
    auto ring = Uring::create();
    if (!ring) return kNotHere + ring.error().message();
    const std::string path = file();
    const auto open_by_ring = [&](int flags, bool by_worker) {
      const UringRequest request = uring::openat(AT_FDCWD, path.c_str(), flags, 0600);
      int result = 0;
      if (!ring->prepare(by_worker ? request.with_flags(UringRequest::kAsync) : request)) return result;
      while (ring->reap([&](const UringCompletion& completion) { result = completion.result; }) == 0) {
        if (!ring->submit_and_wait(1, std::chrono::seconds(10))) break;
      }
      return result;
    };
    if (open_by_ring(O_RDWR, true) <= 0) return "the ring does not open at all";
    if (const std::string missing = unless_confined(confine(Confine::kAuto, {})); !missing.empty()) return missing;
    for (const bool by_worker : {false, true}) {
      for (const int flags : {O_RDONLY, O_WRONLY, O_WRONLY | O_CREAT}) {
        if (const int result = open_by_ring(flags, by_worker); result != -EACCES)
          return (by_worker ? "worker: " : "itself: ") + std::to_string(result);
      }
    }
    return {};
  }));
}

// What `weft heap` hears of a server that was started with WEFT_HEAP=stats=SOCKET.
TEST_F(Confined, TheHeapTellsItsNumbersByAThreadThatHasNoPrivilegesEither) {
  static const std::string path = folder_ + "/heap";
  EXPECT_FINE(test::in_child([]() -> std::string {
    mem::hold_own_threads();
    if (const char* fault = mem::serve_numbers(path.c_str()); fault != nullptr) return fault;
    const int asks = ::socket(AF_UNIX, SOCK_STREAM, 0);  // none can be made later
    if (const std::string missing = unless_confined(confine(Confine::kAuto, {})); !missing.empty()) return missing;
    mem::release_own_threads();
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (::connect(asks, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return "not connected";
    if (::send(asks, "text\n", 5, MSG_NOSIGNAL) != 5) return "not asked";
    char answer[16] = {};
    if (::recv(asks, answer, sizeof answer - 1, MSG_WAITALL) <= 0) return "no answer";
    if (!std::string(answer).starts_with("ok\nused_bytes")) return answer;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
      if (status_of(task.path(), "CapEff:") != "0000000000000000" || status_of(task.path(), "Seccomp:") != "2")
        return status_of(task.path(), "Name:") + " is free";
    }
    return {};
  }));
}

TEST_F(Confined, TheWrittenFileIsReplacedAndNothingBesideItsFolder) {
  const std::string metrics = folder_ + "/inside/metrics.json";
  std::filesystem::create_directory(folder_ + "/inside");
  EXPECT_FINE(confined(
      [&]() -> std::string {
        for (int i = 0; i < 2; ++i) {
          if (const Status written = write_metrics_file(default_metrics(), metrics); !written)
            return written.error().message();
        }
        if (write_metrics_file(default_metrics(), folder_ + "/metrics.json")) return "written elsewhere";
        if (::rename(metrics.c_str(), (folder_ + "/moved").c_str()) == 0) return "moved out";
        if (::mkdir((folder_ + "/inside/more").c_str(), 0700) == 0) return "a folder was made";
        if (::symlink("/etc", (folder_ + "/inside/link").c_str()) == 0) return "a link was made";
        return {};
      },
      metrics));
  EXPECT_TRUE(std::filesystem::exists(metrics));
}

TEST_F(Confined, RootWritesIntoAnothersFolderByTheOneCapabilityItKeeps) {
  if (::geteuid() != 0) GTEST_SKIP() << "not root: there is no capability to keep";
  const std::string inside = folder_ + "/inside";
  std::filesystem::create_directory(inside);
  ASSERT_EQ(::chmod(inside.c_str(), 0755), 0);
  ASSERT_EQ(::chown(inside.c_str(), 65534, 65534), 0);
  EXPECT_FINE(confined(
      [&]() -> std::string {
        if (const std::string kept = status_of("/proc/self", "CapEff:"); kept != "0000000000000002") return kept;
        const Status written = write_metrics_file(default_metrics(), inside + "/metrics.json");
        return written ? "" : written.error().message();
      },
      inside + "/metrics.json"));
}

TEST_F(Confined, WhatIntrudersComeForEndsTheProcess) {
  char* const words[] = {const_cast<char*>("true"), nullptr};
  const struct {
    const char* what;
    std::function<void()> attempt;
  } attempts[] = {
      {"execve", [&] { ::execv("/bin/true", words); }},
      {"execveat", [&] { ::syscall(SYS_execveat, AT_FDCWD, "/bin/true", words, environ, 0); }},
      {"ptrace", [] { ::ptrace(PTRACE_ATTACH, ::getppid(), nullptr, nullptr); }},
      {"mount", [] { ::mount("none", "/tmp", "tmpfs", 0, nullptr); }},
      {"umount", [] { ::umount2("/tmp/weft-nowhere", 0); }},
      {"unshare", [] { ::unshare(CLONE_NEWUSER); }},
      {"another io_uring", [] { static_cast<void>(Uring::create().has_value()); }},
      {"open_by_handle_at", [] { ::syscall(SYS_open_by_handle_at, AT_FDCWD, nullptr, 0); }},
      {"bpf", [] { ::syscall(SYS_bpf, 0, nullptr, 0); }},
      {"setuid", [] { ::setuid(0); }},
  };
  for (const auto& each : attempts) {
    const auto end = confined([&]() -> std::string {
      each.attempt();
      return "lives";
    });
    if (end.said.starts_with(kNotHere)) GTEST_SKIP() << end.said;
    EXPECT_EQ(end.signal, SIGSYS) << each.what << ": " << end.said;
  }
}

TEST_F(Confined, WhatIsMerelyUnknownIsRefused) {
  EXPECT_FINE(confined([]() -> std::string {
    if (!fails(::socket(AF_INET, SOCK_STREAM, 0), EPERM)) return "a TCP socket";
    if (!fails(::socket(AF_INET, SOCK_DGRAM, 0), EPERM)) return "a UDP socket";
    if (!fails(::socket(AF_UNIX, SOCK_STREAM, 0), EPERM)) return "a stream";
    if (!fails(::fork(), EPERM)) return "a process";
    if (!fails(::kill(::getppid(), 0), EPERM)) return "a signal for another";
    if (::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) return "code";
    const int log = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return log >= 0 ? "" : "no socket for the log";
  }));
}

#ifdef SYS_process_madvise
// As a heap gives memory back; not every kernel knows that it may be one's own, and it says so otherwise than the filter.
TEST_F(Confined, OnesOwnMemoryMayBeAdvisedAndNobodyElses) {
  EXPECT_FINE(confined([]() -> std::string {
    void* memory = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const iovec all{.iov_base = memory, .iov_len = 8192};
    constexpr int kSelf = -10000;
    if (fails(::syscall(SYS_process_madvise, kSelf, &all, 1, MADV_DONTNEED, 0), EPERM)) return "one's own";
    return fails(::syscall(SYS_process_madvise, 3, &all, 1, MADV_DONTNEED, 0), EPERM) ? "" : "another's";
  }));
}
#endif

// Every way a FileDisk goes to the device, on many threads of which some are made only afterwards.
std::string use_disk(sched::Runtime& runtime, BlockDevice& disk) {
  return runtime.block_on([&]() -> std::string {
    if (const std::string missing = unless_confined(confine(Confine::kAuto, {})); !missing.empty()) return missing;
    std::atomic<int> failed{0};
    std::vector<sched::Fiber> fibers;
    for (std::uint64_t i = 0; i < 16; ++i) {
      fibers.push_back(sched::spawn("io", [&, i] {
        void* memory = std::aligned_alloc(4096, 4096);
        const std::span<std::byte> page(static_cast<std::byte*>(memory), 4096);
        std::fill(page.begin(), page.end(), static_cast<std::byte>(i));
        bool good = disk.write(i * 4096, page).has_value() && disk.flush().has_value();
        std::fill(page.begin(), page.end(), std::byte{0xFF});
        good = good && disk.read(i * 4096, page).has_value() && page[0] == static_cast<std::byte>(i);
        good = good && disk.discard(i * 4096, 4096).has_value();
        good = good && sched::blocking([] { return ::usleep(20'000); }) == 0;
        if (!good) failed.fetch_add(1);
        std::free(memory);
      }));
    }
    for (auto& fiber : fibers) fiber.join();
    return failed.load() == 0 ? "" : std::to_string(failed.load()) + " of 16 failed";
  });
}

TEST_F(Confined, FileIoAndNewThreadsGoOn) {
  for (const bool ring : {true, false}) {
    EXPECT_FINE(test::in_child([&]() -> std::string {
      auto opened = open_disk(file(), {});
      if (!opened) return opened.error().message();
      auto runtime = sched::Runtime::create({.workers = 2, .use_io_uring = ring, .open_files_only = true});
      if (!runtime) return runtime.error().message();
      return use_disk(*runtime, *opened->disk);
    }));
  }
}

TEST_F(Confined, OffChangesNothing) {
  EXPECT_FINE(test::in_child([this]() -> std::string {
    const CapabilitySet before = capabilities();
    const std::string filter = status_of("/proc/self", "Seccomp_filters:");
    const auto done = confine(Confine::kOff, {});
    if (!done || !done->missing.empty() || !done->held_by.empty()) return "not off";
    if (capabilities() != before || status_of("/proc/self", "Seccomp_filters:") != filter) return "changed";
    return ::open(file().c_str(), O_RDWR) >= 0 ? "" : "the file cannot be opened";
  }));
}

#if __has_include(<seccomp.h>)
// A machine, or a container, that does not let a process confine itself.
bool refuse_confinement() {
  scmp_filter_ctx filter = ::seccomp_init(SCMP_ACT_ALLOW);
  const bool done = filter != nullptr && ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(seccomp), 0) == 0 &&
                    ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(prctl), 1,
                                       SCMP_A0(SCMP_CMP_EQ, PR_SET_SECCOMP)) == 0 &&
                    ::seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(landlock_create_ruleset), 0) == 0 &&
                    ::seccomp_load(filter) == 0;
  ::seccomp_release(filter);
  return done;
}

TEST_F(Confined, WhereTheMachineRefusesAutoSaysSoAndOnIsAnError) {
  EXPECT_FINE(test::in_child([]() -> std::string {
    if (!refuse_confinement()) return std::string(kNotHere) + "no seccomp";
    const auto as_asked = confine(Confine::kOn, {});
    if (as_asked || !(as_asked.error() == Errc::kUnsupported)) return "on: no error";
    for (const char* word : {"Landlock", "seccomp", "confine=on"})
      if (as_asked.error().message().find(word) == std::string::npos) return as_asked.error().message();
    const auto as_possible = confine(Confine::kAuto, {});
    if (!as_possible) return as_possible.error().message();
    if (as_possible->missing.find("Landlock") == std::string::npos) return as_possible->missing;
    if (as_possible->held_by != "no capabilities" || capabilities() != 0) return as_possible->held_by;
    return {};
  }));
}
#endif

}  // namespace
}  // namespace weft::tools
