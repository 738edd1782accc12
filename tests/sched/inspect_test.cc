#include "sched/inspect.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sched/runtime.h"
#include "sched/semaphore.h"

namespace weft::sched {
namespace {

TEST(Inspect, ShowsEachFiberWithItsNameStateAndReason) {
  auto runtime = Runtime::create({.name = "seen", .workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Semaphore gate(0);
  Fiber waiter = runtime->spawn("gatekeeper", [&] { (void)gate.acquire(); });
  const auto deadline = Deadline::after(std::chrono::seconds(2));
  RuntimeReport report;
  while (!deadline.passed()) {
    report = runtime->report();
    if (report.looks_deadlocked()) break;
    yield();
  }
  ASSERT_EQ(report.fibers.size(), 1U);
  EXPECT_EQ(report.fibers[0].name, "gatekeeper");
  EXPECT_EQ(report.fibers[0].state, "parked");
  EXPECT_EQ(report.fibers[0].wait_reason, "semaphore");
  EXPECT_TRUE(report.looks_deadlocked());
  EXPECT_NE(to_text(report).find("\"gatekeeper\" parked (semaphore)"), std::string::npos) << to_text(report);
  gate.release();
  waiter.join();
  report = runtime->report();
  EXPECT_EQ(report.workers.size(), 2U);
  EXPECT_TRUE(std::any_of(report.workers.begin(), report.workers.end(), [](const auto& w) { return w.switches > 0; }));
}

}  // namespace
}  // namespace weft::sched
