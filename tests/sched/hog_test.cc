#include "sched/hog.h"

#include <gtest/gtest.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "sched/hog_watch.h"
#include "sched/runtime.h"
#include "tests/support/sanitizer.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

// Gathers what is reported.
struct Reports {
  std::mutex lock;
  std::vector<HogReport> all;

  HogHandler handler() {
    return [this](const HogReport& report) {
      const std::lock_guard guard(lock);
      all.push_back(report);
    };
  }
  std::size_t count() {
    const std::lock_guard guard(lock);
    return all.size();
  }
};

Runtime make(Reports& reports, unsigned workers) {
  auto runtime = Runtime::create({.workers = workers, .hog_limit = 20ms, .on_hog = reports.handler()});
  EXPECT_TRUE(runtime.has_value());
  return std::move(*runtime);
}

}  // namespace

// Outside of the unnamed namespace, and not inlined: so that it has a name to be found in the backtrace.
[[gnu::noinline]] void hogging_function(const std::atomic<bool>& stop) {
  while (!stop) asm volatile("");
}

namespace {

TEST(Hog, IsNamedWithItsBacktrace) {
  for (const unsigned workers : {1U, 2U}) {
    Reports reports;
    Runtime runtime = make(reports, workers);
    std::atomic<bool> stop{false};
    std::atomic<bool> late{false};
    Fiber hog = runtime.spawn("greedy one", [&] {
      // As many as there are workers, so that somebody always waits.
      std::vector<Fiber> others;
      for (unsigned i = 1; i < workers; ++i) others.push_back(spawn("another", [&] { hogging_function(stop); }));
      others.push_back(spawn("patient", [&] { late = true; }));
      hogging_function(stop);
      for (auto& other : others) other.join();
    });
    const auto limit = std::chrono::steady_clock::now() + (workers == 1 ? 20s : 1s);
    while (reports.count() == 0 && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(1ms);
    stop = true;
    hog.join();
    EXPECT_TRUE(late);
    const std::lock_guard guard(reports.lock);
    EXPECT_TRUE(workers != 1 || !reports.all.empty());
    if (reports.all.empty()) continue;  // the patient one may have been first to run
    const HogReport& report = reports.all.front();
    EXPECT_TRUE(report.fiber == "greedy one" || report.fiber == "another") << report.fiber;
    EXPECT_NE(report.id, 0U);
    EXPECT_GE(report.held, 20ms);
    EXPECT_NE(to_text(report).find("has held worker"), std::string::npos);
    if (test::kThreadSanitizer) continue;  // hands signals over late
    const std::string text = to_text(report);
    EXPECT_TRUE(!report.computes || text.find("hogging_function") != std::string::npos) << text;
  }
}

TEST(Hog, OneThatBlocksIsNamedAndNotInterrupted) {
  Reports reports;
  Runtime runtime = make(reports, 1);
  std::atomic<int> interrupted{0};
  Fiber hog = runtime.spawn("sleepy one", [&] {
    Fiber other = spawn("patient", [] {});
    const auto limit = std::chrono::steady_clock::now() + 20s;
    while (reports.count() == 0 && std::chrono::steady_clock::now() < limit) {
      timespec time{.tv_sec = 0, .tv_nsec = 300'000'000};
      if (nanosleep(&time, nullptr) != 0) ++interrupted;
    }
    other.join();
  });
  hog.join();
  const std::lock_guard guard(reports.lock);
  ASSERT_FALSE(reports.all.empty());
  EXPECT_EQ(reports.all.front().fiber, "sleepy one");
  EXPECT_FALSE(reports.all.front().computes);
  EXPECT_TRUE(reports.all.front().backtrace.empty());
  EXPECT_EQ(interrupted, 0);
}

TEST(Hog, WhoComputesAloneIsNone) {
  Reports reports;
  Runtime runtime = make(reports, 1);
  runtime.block_on([] {
    const auto until = std::chrono::steady_clock::now() + 100ms;
    while (std::chrono::steady_clock::now() < until) {}
  });
  EXPECT_EQ(reports.count(), 0U);
}

TEST(Hog, ReportsAreOneForEachHogAndOneASecondAtMost) {
  Reports reports;
  HogWatch watch(10ms, reports.handler(), 1);
  const auto name = [](HogReport& report) { report.fiber = "somebody"; };
  std::int64_t now_ns = 1'000'000'000;
  std::uint64_t switches = 1;
  // Blocks, as the thread that is looked at uses no CPU: this one, which sleeps in between.
  for (int hog = 0; hog < 4; ++hog, ++switches)
    for (int i = 0; i < 20; ++i) {
      now_ns += 5'000'000'000 / 80;
      watch.look(
          {.thread = pthread_self(), .switches = switches, .runs_fiber = true, .others_wait = true, .name = name},
          now_ns);
    }
  ASSERT_EQ(reports.count(), 4U);
  for (int hog = 0; hog < 8; ++hog, ++switches)
    for (int i = 0; i < 20; ++i) {
      now_ns += 2'000'000;
      watch.look(
          {.thread = pthread_self(), .switches = switches, .runs_fiber = true, .others_wait = true, .name = name},
          now_ns);
    }
  now_ns += 2'000'000'000;
  for (int i = 0; i < 20; ++i) {
    now_ns += 2'000'000;
    watch.look({.thread = pthread_self(), .switches = switches, .runs_fiber = true, .others_wait = true, .name = name},
               now_ns);
  }
  ASSERT_EQ(reports.count(), 6U);  // the first of these, and the last
  EXPECT_EQ(reports.all.back().kept_back, 7U);
  EXPECT_EQ(reports.all.back().fiber, "somebody");
}

TEST(Hog, WorkersStayOnTheirCpuIfAsked) {
  auto runtime = Runtime::create({.workers = 3, .pin_workers = true});
  ASSERT_TRUE(runtime.has_value());
  for (unsigned i = 0; i < 3; ++i)
    runtime
        ->spawn_pinned(i, "looks",
                       [] {
                         cpu_set_t set;
                         CPU_ZERO(&set);
                         ASSERT_EQ(sched_getaffinity(0, sizeof set, &set), 0);
                         EXPECT_EQ(CPU_COUNT(&set), 1);
                       })
        .join();
}

}  // namespace
}  // namespace weft::sched
