// tests/sched/thread_limit_test.cc - a process at its limit of threads goes on, slower: neither its kernel nor it can start one.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "sched/inspect.h"
#include "sched/io.h"
#include "sched/offload.h"
#include "sched/runtime.h"
#include "sched/sanitizers.h"
#include "tests/sched/in_fork.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {
namespace {

// No further thread in this process, the kernel's own for io_uring included. Root has no such limit, so it becomes nobody.
void reach_thread_limit() {
  constexpr uid_t kNobody = 65534;
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_NPROC, &none) != 0 || (getuid() == 0 && setresuid(kNobody, kNobody, kNobody) != 0)) _exit(99);
}

class ThreadLimit : public testing::Test {
 protected:
  void SetUp() override {
#ifdef WEFT_TSAN
    GTEST_SKIP() << "ThreadSanitizer starts no thread in the child of a process with threads";
#endif
    char path[] = "/tmp/weft-thread-limit-XXXXXX";
    fd_ = mkstemp(path);
    ASSERT_GE(fd_, 0);
    unlink(path);
  }
  void TearDown() override {
    if (fd_ >= 0) close(fd_);
  }
  int fd_ = -1;
};

TEST_F(ThreadLimit, FilesAreWrittenAndSynced) {
  const End end = in_fork([&] {
    auto runtime = std::move(*Runtime::create({.workers = 1}));
    reach_thread_limit();
    return runtime.block_on([&] {
      for (int round = 0; round < 3; ++round) {
        const auto written = io::write(fd_, bytes_of("held"), 0);
        if (!written || *written != 4) return 1;
        if (auto synced = io::fsync(fd_); !synced) {
          dprintf(STDERR_FILENO, "%s\n", synced.error().message().c_str());
          return 2;
        }
        if (!io::fdatasync(fd_)) return 3;
        if (!io::fallocate(fd_, 0, 0, 8192)) return 4;
      }
      return 0;
    });
  });
  EXPECT_EQ(end.code(), 0) << end.said;
  char held[4];
  EXPECT_EQ(pread(fd_, held, sizeof held, 0), 4);
  EXPECT_EQ(std::string(held, 4), "held");
}

TEST_F(ThreadLimit, ABlockingCallIsMadeWhereItStands) {
  const End end = in_fork([] {
    auto runtime = std::move(*Runtime::create({.workers = 1}));
    reach_thread_limit();
    return runtime.block_on([] {
      if (blocking([] { return gettid(); }) != gettid()) return 1;
      return blocking_until(Deadline::after(std::chrono::seconds(10)), [] { return 7; }).value_or(0) == 7 ? 0 : 2;
    });
  });
  EXPECT_EQ(end.code(), 0) << end.said;
}

TEST_F(ThreadLimit, ARuntimeIsRefusedAndSaysWhy) {
  const End end = in_fork([] {
    reach_thread_limit();
    const auto runtime = Runtime::create({.workers = 2});
    if (runtime) return 1;
    dprintf(STDERR_FILENO, "%s\n", runtime.error().message().c_str());
    return runtime.error() == Errc::kAgain ? 0 : 2;
  });
  EXPECT_EQ(end.code(), 0) << end.said;
  EXPECT_NE(end.said.find("start a worker thread"), std::string::npos) << end.said;
}

TEST_F(ThreadLimit, DumpsAreRefusedAndNothingIsLeftOpen) {
  const End end = in_fork([] {
    reach_thread_limit();
    const std::size_t before = open_descriptors();
    const DumpOnSignal dump(SIGUSR1);
    if (dump.status() || dump.status().error() != Errc::kAgain) return 1;
    return open_descriptors() == before ? 0 : 2;
  });
  EXPECT_EQ(end.code(), 0) << end.said;
}

}  // namespace
}  // namespace weft::sched
