// A worker that shares its processor with a thread that does not let go of it.
#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "kernel/spinlock.h"
#include "sched/runtime.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

// The calling thread and those that it makes.
void stay_on_one_processor() {
  cpu_set_t mine;
  ASSERT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
  int first = 0;
  while (!CPU_ISSET(first, &mine)) ++first;
  CPU_ZERO(&mine);
  CPU_SET(first, &mine);
  ASSERT_EQ(::sched_setaffinity(0, sizeof mine, &mine), 0);
}

// Where it gave way it would wait for the other's slice each time that it looks for work.
TEST(CrowdedProcessor, AWorkerThatHasLostItOnceSleepsInsteadOfGivingWayAgain) {
  constexpr int kWaits = 60;
  WorkerCounters counters;
  std::chrono::nanoseconds took{};
  std::thread([&] {
    stay_on_one_processor();
    std::atomic<bool> over{false};
    std::thread busy([&] {
      while (!over.load(std::memory_order_relaxed)) cpu_relax();
    });
    {
      auto runtime = Runtime::create({.workers = 1});
      ASSERT_TRUE(runtime);
      const auto start = now();
      runtime->block_on([] {
        for (int i = 0; i < kWaits; ++i) (void)sleep_for(1ms);
      });
      counters = runtime->report().workers.front();
      took = now() - start;
    }
    over.store(true);
    busy.join();
  }).join();
  EXPECT_GE(counters.searches, static_cast<unsigned>(kWaits));
  EXPECT_GE(counters.crowded, 1U);
  // Once in 50 ms.
  EXPECT_LE(counters.crowded, 1U + static_cast<std::uint64_t>(took / 50ms));
}

}  // namespace
}  // namespace weft::sched
