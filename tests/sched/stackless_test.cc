// What happens when the system has no memory for one more stack. Each in a process of its own, whose address space is bounded.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <vector>

#include "sched/runtime.h"
#include "sched/sanitizers.h"
#include "sched/semaphore.h"

namespace weft::sched {
namespace {

using testing::ExitedWithCode;
using testing::KilledBySignal;

// So much more address space than now, and no more.
void bound_address_space(std::size_t more_bytes) {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const rlimit limit{pages * 4096 + more_bytes, pages * 4096 + more_bytes};
  if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(98);
}

class StacklessDeathTest : public testing::Test {
 protected:
  void SetUp() override {
    if (kSanitizerHandlesFaults) GTEST_SKIP() << "sanitizers need address space themselves";
    GTEST_FLAG_SET(death_test_style, "threadsafe");
  }
};

TEST_F(StacklessDeathTest, FibersWaitForTheStacksOfOthersAndAllRun) {
  EXPECT_EXIT(
      {
        constexpr int kFibers = 500;
        auto runtime = Runtime::create({.workers = 2, .stack_bytes = 1024 * 1024});
        if (!runtime) _exit(97);
        runtime->block_on([] {});
        bound_address_space(100 << 20);  // for about a hundred stacks
        std::atomic<int> ran{0};
        std::atomic<int> waits{0};
        std::vector<Fiber> fibers;
        for (int i = 0; i < kFibers; ++i) {
          fibers.push_back(runtime->spawn("one of many", [&] {
            (void)sleep_for(std::chrono::milliseconds(2));
            ran.fetch_add(1);
          }));
        }
        for (const FiberReport& fiber : runtime->report().fibers) waits += fiber.wait_reason == "stack" ? 1 : 0;
        for (Fiber& fiber : fibers) fiber.join();
        const auto made = runtime->report().stacks;
        std::fprintf(stderr, "%d ran, fewer stacks than fibers: %d\n", ran.load(), made < kFibers ? 1 : 0);
        _exit(0);
      },
      ExitedWithCode(0), "^500 ran, fewer stacks than fibers: 1\n$");
}

TEST_F(StacklessDeathTest, WhereNoStackCanEverComeTheProcessEndsWithAdvice) {
  EXPECT_EXIT(
      {
        auto runtime = Runtime::create({.workers = 2, .stack_bytes = 64 * 1024 * 1024});
        if (!runtime) _exit(97);
        bound_address_space(20 << 20);
        runtime->block_on([] {});
      },
      KilledBySignal(SIGABRT), "^weft: fiber \"block_on\" cannot start: .*vm.max_map_count");
}

}  // namespace
}  // namespace weft::sched
