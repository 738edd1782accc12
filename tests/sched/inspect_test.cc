#include "sched/inspect.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "sched/channel.h"
#include "sched/descriptor.h"
#include "sched/io.h"
#include "sched/mutex.h"
#include "sched/offload.h"
#include "sched/runtime.h"
#include "sched/sanitizers.h"
#include "sched/scheduling.h"
#include "sched/select.h"
#include "sched/semaphore.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {
namespace {

using nlohmann::json;

// Reports until one of them is as wanted, or for some seconds.
template <typename Wanted>
RuntimeReport report_when(const Runtime& runtime, const ReportOptions& options, Wanted&& wanted) {
  const auto deadline = Deadline::after(std::chrono::seconds(20));
  RuntimeReport report;
  do {
    report = runtime.report(options);
    if (wanted(report)) break;
    usleep(1000);
  } while (!deadline.passed());
  return report;
}

const FiberReport* find(const RuntimeReport& report, std::string_view name) {
  const auto found =
      std::find_if(report.fibers.begin(), report.fibers.end(), [&](const auto& f) { return f.name == name; });
  return found != report.fibers.end() ? &*found : nullptr;
}

bool is_parked(const RuntimeReport& report, std::string_view name) {
  const FiberReport* fiber = find(report, name);
  return fiber != nullptr && fiber->state == "parked";
}

std::string slurp(const std::string& path) {
  std::stringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

TEST(Inspect, ShowsEachFiberWithItsNameStateAndReason) {
  auto runtime = Runtime::create({.name = "seen", .workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Semaphore gate(0);
  Fiber waiter = runtime->spawn("gatekeeper", [&] { (void)gate.acquire(); });
  RuntimeReport report = report_when(*runtime, {}, [](const auto& r) { return r.looks_deadlocked(); });
  ASSERT_EQ(report.fibers.size(), 1U);
  EXPECT_EQ(report.fibers[0].name, "gatekeeper");
  EXPECT_EQ(report.fibers[0].state, "parked");
  EXPECT_EQ(report.fibers[0].wait_reason, "semaphore");
  EXPECT_EQ(report.fibers[0].waits_for, reinterpret_cast<std::uintptr_t>(&gate));
  EXPECT_TRUE(report.fibers[0].backtrace.empty()) << "not asked for";
  EXPECT_TRUE(report.looks_deadlocked());
  EXPECT_NE(to_text(report).find("\"gatekeeper\" parked (semaphore 0x"), std::string::npos) << to_text(report);
  gate.release();
  waiter.join();
  report = runtime->report();
  EXPECT_EQ(report.workers.size(), 2U);
  EXPECT_TRUE(std::any_of(report.workers.begin(), report.workers.end(), [](const auto& w) { return w.switches > 0; }));
}

TEST(Inspect, ShowsWhoHasWhichSharesAndHowManyAreReady) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  RuntimeReport report;
  runtime->block_on([&] {
    Group bulk("bulk \"x\"", 25);
    std::vector<Fiber> fibers;
    fibers.reserve(5);
    for (int i = 0; i < 3; ++i) fibers.push_back(spawn({.name = "merge", .group = bulk}, [] {}));
    fibers.push_back(spawn({.name = "beat", .scheduling_class = SchedulingClass::kHigh}, [] {}));
    fibers.push_back(spawn({.name = "scrub", .scheduling_class = SchedulingClass::kIdle}, [] {}));
    report = runtime->report();  // the only worker is here
    for (Fiber& fiber : fibers) fiber.join();
  });
  const auto bulk = std::find_if(report.groups.begin(), report.groups.end(),
                                 [](const GroupReport& group) { return group.name == "bulk \"x\""; });
  ASSERT_NE(bulk, report.groups.end());
  EXPECT_EQ(bulk->shares, 25U);
  EXPECT_EQ(bulk->active, 3U);
  EXPECT_EQ(bulk->queued, 3U);
  EXPECT_EQ(report.high_queued, 1U);
  EXPECT_EQ(report.idle_queued, 1U);
  EXPECT_NE(to_text(report).find("  group \"bulk \"x\"\": 25 shares, 3 active, 3 queued, virtual time "),
            std::string::npos)
      << to_text(report);
  EXPECT_NE(to_text(report).find("  class high: 1 queued\n"), std::string::npos);
  const json parsed = json::parse(to_json(report));
  const auto group = std::find_if(parsed["groups"].begin(), parsed["groups"].end(),
                                  [](const json& one) { return one["name"] == "bulk \"x\""; });
  ASSERT_NE(group, parsed["groups"].end());
  EXPECT_EQ((*group)["queued"], 3);
  EXPECT_EQ((*group)["shares"], 25);
  EXPECT_TRUE(group->contains("virtual_ns"));
  EXPECT_EQ(parsed["high_queued"], 1);
  EXPECT_EQ(parsed["idle_queued"], 1);
}

TEST(Inspect, NamesTheAddressOfWhatSelectsIoAndOffloadedCallsWaitFor) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Channel<int> channel(1);
  auto pipe = std::move(*io::make_pipe());
  std::atomic<bool> go_on{false};
  Fiber chooser = runtime->spawn("chooser", [&] {
    EXPECT_TRUE(select(Deadline::never(), on_receive(channel, [](const Result<int>&) {})).has_value());
  });
  Fiber reader = runtime->spawn("reader", [&] {
    std::byte into{};
    EXPECT_EQ(io::read_some(pipe.read.get(), {&into, 1}).value(), 1U);
  });
  Fiber caller = runtime->spawn("caller", [&] {
    blocking([&] {
      while (!go_on.load()) usleep(1000);
    });
  });
  const RuntimeReport report = report_when(*runtime, {}, [](const auto& r) {
    return is_parked(r, "chooser") && is_parked(r, "reader") && is_parked(r, "caller");
  });
  EXPECT_EQ(find(report, "chooser")->waits_for, reinterpret_cast<std::uintptr_t>(static_cast<ChannelCore*>(&channel)));
  EXPECT_EQ(find(report, "reader")->wait_reason, "io");
  EXPECT_NE(find(report, "reader")->waits_for, 0U);
  EXPECT_EQ(find(report, "caller")->wait_reason, "offload");
  EXPECT_NE(find(report, "caller")->waits_for, 0U);
  EXPECT_TRUE(channel.send(1).has_value());
  EXPECT_TRUE(io::write_some(pipe.write.get(), bytes_of("x")).has_value());
  go_on = true;
  for (Fiber* fiber : {&chooser, &reader, &caller}) fiber->join();
}

[[gnu::noinline]] void inner_place_of_the_wait(Semaphore& gate) {
  (void)gate.acquire();
  asm volatile("" ::: "memory");  // no tail call
}
[[gnu::noinline]] void outer_place_of_the_wait(Semaphore& gate) {
  inner_place_of_the_wait(gate);
  asm volatile("" ::: "memory");
}

TEST(Inspect, AParkedFibersBacktraceNamesItsFunctionsInnermostFirst) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Semaphore gate(0);
  Fiber waiter = runtime->spawn("deep", [&] { outer_place_of_the_wait(gate); });
  const RuntimeReport report = report_when(*runtime, {.backtraces = true, .stack_depths = true}, [](const auto& r) {
    return is_parked(r, "deep") && !r.fibers[0].backtrace.empty();
  });
  gate.release();
  waiter.join();
  const FiberReport* fiber = find(report, "deep");
  ASSERT_NE(fiber, nullptr);
  const std::string text = to_text(report);
  const auto inner = text.find("inner_place_of_the_wait");
  const auto outer = text.find("outer_place_of_the_wait");
  EXPECT_NE(inner, std::string::npos) << text;
  EXPECT_NE(outer, std::string::npos) << text;
  EXPECT_LT(inner, outer);
  EXPECT_GE(fiber->stack_bytes, 128U * 1024);
  EXPECT_GT(fiber->stack_used_bytes, 0U);
  EXPECT_LT(fiber->stack_used_bytes, 64U * 1024);
  EXPECT_GE(fiber->stack_deepest_bytes + 4096, fiber->stack_used_bytes);
  ASSERT_FALSE(report.stack_sizes.empty());
  EXPECT_GE(report.stack_sizes[0].in_use, 1U);
  EXPECT_GE(report.stack_sizes[0].deepest_bytes, fiber->stack_deepest_bytes);
}

TEST(Inspect, KnowsHowLongAFiberHasWaitedAndWhenItsDeadlineIs) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Semaphore gate(0);
  Fiber patient = runtime->spawn("patient", [&] { (void)gate.acquire(1, Deadline::after(std::chrono::hours(1))); });
  (void)report_when(*runtime, {}, [](const auto& r) { return is_parked(r, "patient"); });
  usleep(200'000);
  const RuntimeReport report = runtime->report();
  const FiberReport* fiber = find(report, "patient");
  ASSERT_NE(fiber, nullptr);
  EXPECT_GE(fiber->parked_for_ns, 100'000'000);
  EXPECT_LT(fiber->parked_for_ns, 60'000'000'000);
  EXPECT_GT(fiber->ends_in_ns, 3'000'000'000'000);
  EXPECT_FALSE(report.looks_deadlocked()) << "its deadline will end it";
  patient.request_stop();
  patient.join();
}

TEST(Inspect, AFiberKnowsWhoSpawnedIt) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  Semaphore gate(0);
  Fiber parent = runtime->spawn("parent", [&] {
    Fiber child = spawn("child", [&] { (void)gate.acquire(); });
    (void)gate.acquire();
    child.join();
  });
  const RuntimeReport report =
      report_when(*runtime, {}, [](const auto& r) { return is_parked(r, "parent") && is_parked(r, "child"); });
  gate.release(2);
  parent.join();
  ASSERT_NE(find(report, "child"), nullptr);
  EXPECT_EQ(find(report, "child")->spawned_by, find(report, "parent")->id);
  EXPECT_EQ(find(report, "parent")->spawned_by, 0U);
}

TEST(Inspect, OneThatRunsItsChildWhileJoiningItIsSeenAsJoining) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  Semaphore gate(0);
  Fiber parent = runtime->spawn("parent", [&] { spawn("child", [&] { outer_place_of_the_wait(gate); }).join(); });
  const RuntimeReport report =
      report_when(*runtime, {.backtraces = true}, [](const auto& r) { return is_parked(r, "child"); });
  gate.release();
  parent.join();
  ASSERT_TRUE(is_parked(report, "parent")) << to_text(report);
  EXPECT_TRUE(find(report, "parent")->wait_reason.starts_with("join")) << to_text(report);
  EXPECT_TRUE(report.looks_deadlocked());
}

TEST(Inspect, TheSameComesAsJson) {
  auto runtime = Runtime::create({.name = "js\"on\n", .workers = 2, .measure_latencies = true});
  ASSERT_TRUE(runtime.has_value());
  Semaphore gate(0);
  Fiber waiter = runtime->spawn("a \"name\"", [&] { outer_place_of_the_wait(gate); });
  const RuntimeReport report = report_when(*runtime, {.backtraces = true, .stack_depths = true}, [](const auto& r) {
    return is_parked(r, "a \"name\"") && !r.fibers[0].backtrace.empty();
  });
  gate.release();
  waiter.join();
  const json parsed = json::parse(to_json(report));
  EXPECT_EQ(parsed["name"], "js\"on\\x0a");
  EXPECT_EQ(parsed["workers"].size(), 2U);
  ASSERT_EQ(parsed["fibers"].size(), 1U);
  EXPECT_EQ(parsed["fibers"][0]["name"], "a \"name\"");
  EXPECT_EQ(parsed["fibers"][0]["wait_reason"], "semaphore");
  EXPECT_GE(parsed["fibers"][0]["backtrace"].size(), 3U);
  EXPECT_GE(parsed["ready_to_running"]["count"], 1U);
  EXPECT_TRUE(parsed["looks_deadlocked"]);
}

TEST(Inspect, CountsWhatGoesToTheRingAndComesBack) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  runtime->block_on([&] {
    Fiber reader = spawn("reader", [&] {
      std::byte byte{};
      (void)io::read_some(ends[0], std::span(&byte, 1));
    });
    (void)sleep_for(std::chrono::milliseconds(5));
    const std::byte byte{1};
    EXPECT_EQ(write(ends[1], &byte, 1), 1);
    reader.join();
  });
  const WorkerCounters counters = runtime->report().workers[0];
  EXPECT_GE(counters.parks, 2U);
  EXPECT_GE(counters.enters, 1U);
  EXPECT_LE(counters.completed, counters.submitted + 1);
  EXPECT_GE(counters.injected, 1U) << "block_on() came from outside";
  close(ends[0]);
  close(ends[1]);
}

TEST(Inspect, LatenciesAreMeasuredWhereTheyAreWanted) {
  for (const bool wanted : {false, true}) {
    auto runtime = Runtime::create({.workers = 2, .measure_latencies = wanted});
    ASSERT_TRUE(runtime.has_value());
    runtime->block_on([] {
      for (int i = 0; i < 100; ++i) {
        Fiber other = spawn("other", [] { yield(); });
        yield();
        other.join();
      }
    });
    const RuntimeReport report = runtime->report();
    EXPECT_EQ(report.ready_to_running.count != 0, wanted);
    EXPECT_EQ(report.slices.count != 0, wanted);
    if (!wanted) continue;
    EXPECT_GE(report.slices.count, 100U);
    EXPECT_LE(report.slices.p50_ns, report.slices.p99_ns);
    EXPECT_LE(report.slices.p99_ns, report.slices.most_ns);
    EXPECT_NE(to_text(report).find("ready to running: "), std::string::npos);
  }
}

TEST(Inspect, ASignalMakesAThreadWriteWhatAllRuntimesDo) {
  const std::string path = testing::TempDir() + "/weft_dump_" + std::to_string(getpid());
  auto first = Runtime::create({.name = "first", .workers = 1});
  auto second = Runtime::create({.name = "second", .workers = 1});
  ASSERT_TRUE(first && second);
  Mutex held;
  held.lock();
  Fiber waiter = first->spawn("waits-for-main", [&] {
    held.lock();
    held.unlock();
  });
  (void)report_when(*first, {}, [](const auto& r) { return is_parked(r, "waits-for-main"); });
  struct sigaction before{}, after{};
  sigaction(SIGQUIT, nullptr, &before);
  {
    DumpOnSignal dump(SIGQUIT, path);
    ASSERT_TRUE(dump.status().has_value());
    const DumpOnSignal another(SIGQUIT);
    ASSERT_FALSE(another.status().has_value());
    EXPECT_EQ(another.status().error(), Errc::kBusy);
    kill(getpid(), SIGQUIT);
    const auto deadline = Deadline::after(std::chrono::seconds(20));
    while (slurp(path).find("\"second\"") == std::string::npos && !deadline.passed()) usleep(1000);
  }
  const std::string said = slurp(path);
  unlink(path.c_str());
  held.unlock();
  waiter.join();
  sigaction(SIGQUIT, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
  EXPECT_NE(said.find("runtime \"first\": 1 fibers"), std::string::npos) << said;
  EXPECT_NE(said.find("runtime \"second\": 0 fibers"), std::string::npos) << said;
  EXPECT_NE(said.find("\"waits-for-main\" parked (mutex 0x"), std::string::npos) << said;
  EXPECT_NE(said.find("Mutex::lock_slow"), std::string::npos) << "the backtrace\n" << said;
}

TEST(Inspect, FibersThatWaitForEachOtherAreReportedOnce) {
  for (const unsigned workers : {1U, 2U}) {
    testing::internal::CaptureStderr();
    {
      auto runtime = Runtime::create({.workers = workers, .deadlock_report = std::chrono::milliseconds(20)});
      ASSERT_TRUE(runtime.has_value());
      Semaphore a(0), b(0);
      Fiber one = runtime->spawn("philosopher-1", [&] {
        (void)a.acquire();
        b.release();
      });
      Fiber two = runtime->spawn("philosopher-2", [&] {
        (void)b.acquire();
        a.release();
      });
      (void)report_when(*runtime, {}, [](const auto& r) { return r.looks_deadlocked(); });
      usleep(500'000);
      a.release();
      one.join();
      two.join();
    }
    const std::string said = testing::internal::GetCapturedStderr();
    const auto at = said.find("weft: all fibers wait for each other\n");
    EXPECT_NE(at, std::string::npos) << said;
    EXPECT_EQ(said.find("weft: all fibers wait", at + 1), std::string::npos) << said;
    EXPECT_NE(said.find("\"philosopher-2\" parked (semaphore"), std::string::npos) << said;
  }
}

TEST(Inspect, ReportsWhileFibersComeRunAndGo) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<bool> enough{false};
  std::vector<Fiber> fibers;
  for (int i = 0; i < 4; ++i) {
    fibers.push_back(runtime->spawn("busy", [&] {
      Semaphore turns(0);
      while (!enough.load(std::memory_order_relaxed)) {
        Fiber child = spawn("short", [&] {
          yield();
          turns.release();
        });
        (void)turns.acquire();
        child.join();
        (void)sleep_for(std::chrono::microseconds(10));
      }
    }));
  }
  std::size_t seen = 0;
  for (int i = 0; i < 200; ++i) {
    const RuntimeReport report = runtime->report({.backtraces = i % 4 == 0, .stack_depths = i % 8 == 0});
    for (const FiberReport& fiber : report.fibers) {
      EXPECT_TRUE(fiber.name == "busy" || fiber.name == "short") << fiber.name;
      ++seen;
    }
  }
  enough = true;
  for (Fiber& fiber : fibers) fiber.join();
  EXPECT_GT(seen, 100U);
}

}  // namespace
}  // namespace weft::sched
