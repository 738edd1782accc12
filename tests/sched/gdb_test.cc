// sched/weft-gdb.py on a living process and on a core. The program is a forked copy of this one, whose fibers wait.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>

#include "sched/mutex.h"
#include "sched/runtime.h"
#include "sched/sanitizers.h"
#include "sched/semaphore.h"

namespace weft::sched {
namespace {

namespace fs = std::filesystem;

constexpr const char* kScript = "sched/weft-gdb.py";

[[gnu::noinline]] void where_the_cook_waits(Semaphore& gate) {
  (void)gate.acquire();
  asm volatile("" ::: "memory");  // no tail call
}

std::atomic<bool> busy{true};

[[gnu::noinline]] void where_the_baker_turns() {
  while (busy.load(std::memory_order_relaxed)) asm volatile("" ::: "memory");
}

// In the child: says so when its fibers are where they should be, and then waits, or dies.
[[noreturn]] void be_looked_at(int ready, bool die) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_DUMPABLE, 1);
#ifdef PR_SET_PTRACER
  prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0);
#endif
  alarm(120);
  auto runtime = Runtime::create({.name = "kitchen", .workers = 2});
  if (!runtime) _exit(9);
  Semaphore gate(0);
  Fiber cook = runtime->spawn("cook", [&] { where_the_cook_waits(gate); });
  Fiber baker = runtime->spawn("baker", [] { where_the_baker_turns(); });
  const auto in_place = [&] {
    int as_wanted = 0;
    for (const FiberReport& fiber : runtime->report().fibers)
      as_wanted +=
          (fiber.name == "cook" && fiber.state == "parked") || (fiber.name == "baker" && fiber.state == "running");
    return as_wanted == 2;
  };
  while (!in_place()) usleep(1000);
  if (write(ready, "r", 1) != 1) _exit(8);
  if (die) abort();
  for (;;) pause();
}

class Gdb : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitizerHandlesFaults) GTEST_SKIP() << "a sanitizer's process is too large to look at";
    if (std::system("gdb --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "no gdb";
    ASSERT_TRUE(fs::exists(kScript)) << "run from the project's folder";
    folder_ = fs::path(testing::TempDir()) / ("weft_gdb_" + std::to_string(getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override {
    if (child_ > 0) {
      kill(child_, SIGKILL);
      waitpid(child_, nullptr, 0);
    }
    if (!folder_.empty()) fs::remove_all(folder_);
  }

  void start(bool die) {
    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    child_ = fork();
    if (child_ == 0) {
      const rlimit all{RLIM_INFINITY, RLIM_INFINITY};
      if (die && (setrlimit(RLIMIT_CORE, &all) != 0 || chdir(folder_.c_str()) != 0)) _exit(7);
      be_looked_at(ends[1], die);
    }
    close(ends[1]);
    char said = 0;
    ASSERT_EQ(read(ends[0], &said, 1), 1);
    close(ends[0]);
  }

  static std::string gdb(const std::string& arguments) {
    const std::string command =
        "timeout 100 gdb -nx -batch -iex 'set auto-load off' -iex 'set debuginfod enabled off' " + arguments + " -x " +
        kScript +
        " -ex 'weft fibers' -ex 'weft bt cook' -ex 'weft bt baker' -ex bt -ex 'weft bt nobody'"
        " </dev/null 2>&1";
    std::string said;
    FILE* pipe = popen(command.c_str(), "r");
    if (pipe == nullptr) return "popen failed";
    std::array<char, 4096> part{};
    while (const std::size_t count = fread(part.data(), 1, part.size(), pipe)) said.append(part.data(), count);
    pclose(pipe);
    return said;
  }

  static void expect_all(const std::string& said) {
    EXPECT_NE(said.find("runtime \"kitchen\": 2 fibers"), std::string::npos) << said;
    const auto cook = said.find("\"cook\" parked (semaphore 0x");
    EXPECT_NE(cook, std::string::npos) << said;
    EXPECT_NE(said.find("\"baker\" running on thread"), std::string::npos) << said;
    const auto inner = said.find("acquire (");  // the class is not named where there are line tables only
    const auto outer = said.find("where_the_cook_waits");
    EXPECT_NE(inner, std::string::npos) << said;
    EXPECT_NE(outer, std::string::npos) << said;
    EXPECT_LT(inner, outer) << said;
    EXPECT_NE(said.find("where_the_baker_turns"), std::string::npos) << said;
    EXPECT_NE(said.find("no fiber has that number or name"), std::string::npos) << said;
    EXPECT_EQ(said.find("Traceback"), std::string::npos) << said;
  }

  fs::path folder_;
  pid_t child_ = 0;
};

TEST_F(Gdb, ShowsTheFibersOfALivingProcessAndUnwindsThem) {
  ASSERT_NO_FATAL_FAILURE(start(false));
  const std::string said = gdb("-p " + std::to_string(child_));
  if (said.find("Operation not permitted") != std::string::npos) GTEST_SKIP() << "may not look at another process";
  expect_all(said);
  EXPECT_EQ(kill(child_, 0), 0) << "it lives on";
}

TEST_F(Gdb, ShowsThemInACore) {
  ASSERT_NO_FATAL_FAILURE(start(true));
  int status = 0;
  ASSERT_EQ(waitpid(child_, &status, 0), child_);
  child_ = 0;
  ASSERT_TRUE(WIFSIGNALED(status));
  fs::path core;
  for (const auto& entry : fs::directory_iterator(folder_))
    if (entry.path().filename().string().starts_with("core")) core = entry.path();
  if (core.empty()) GTEST_SKIP() << "the system keeps its cores elsewhere";
  expect_all(gdb(fs::read_symlink("/proc/self/exe").string() + " " + core.string()));
}

}  // namespace
}  // namespace weft::sched
