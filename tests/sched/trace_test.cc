#include "sched/trace.h"

#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "kernel/function_ref.h"
#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/observer.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"

namespace weft::sched {
namespace {

using nlohmann::json;

TraceEvent event(std::int64_t at_ns, TraceKind kind, std::uint64_t fiber, const char* name,
                 const char* reason = nullptr, std::uint64_t other = 0) {
  TraceEvent made{.at_ns = at_ns, .fiber = fiber, .other = other, .reason = reason, .name = {}, .kind = kind};
  std::memcpy(made.name, name, std::strlen(name));
  return made;
}

std::vector<json> with(const json& trace, const char* key, const char* value) {
  std::vector<json> found;
  for (const json& entry : trace["traceEvents"])
    if (entry.contains(key) && entry[key] == value) found.push_back(entry);
  return found;
}

TEST(Trace, SlicesWaitsAndArrowsComeOutAsTheyWentIn) {
  const std::vector<std::vector<TraceEvent>> tracks = {
      {event(1'000, TraceKind::kRun, 1, "reader"), event(3'500, TraceKind::kPark, 1, "reader", "mutex"),
       event(3'600, TraceKind::kSleep, 0, ""), event(9'000, TraceKind::kAwake, 0, ""),
       event(9'500, TraceKind::kRun, 1, "reader"), event(9'600, TraceKind::kEnd, 1, "reader")},
      {event(2'000, TraceKind::kRun, 2, "writer \"x\"\n"), event(8'000, TraceKind::kWake, 1, "reader", nullptr, 2),
       event(8'100, TraceKind::kYield, 2, "writer \"x\"\n"), event(8'200, TraceKind::kSteal, 3, "third", nullptr, 0),
       event(8'300, TraceKind::kSubmit, 0, "", nullptr, 4), event(8'400, TraceKind::kRun, 3, "third")},
      {}};
  const json trace = json::parse(trace_to_json("test", tracks));
  const auto slices = with(trace, "cat", "run");
  ASSERT_EQ(slices.size(), 4U);
  EXPECT_EQ(slices[0]["name"], "reader");
  EXPECT_EQ(slices[0]["ts"], 0.0) << "time begins with the trace";
  EXPECT_EQ(slices[0]["dur"], 2.5);
  EXPECT_EQ(slices[0]["tid"], 0);
  EXPECT_EQ(slices[0]["args"]["then"], "mutex");
  EXPECT_EQ(slices[1]["args"]["then"], "ended");
  EXPECT_EQ(slices[2]["name"], "writer \"x\"\\x0a");
  EXPECT_EQ(slices[2]["args"]["then"], "yielded");
  EXPECT_EQ(slices[3]["ph"], "B") << "still runs";
  const auto asleep = with(trace, "name", "asleep");
  ASSERT_EQ(asleep.size(), 1U);
  EXPECT_EQ(asleep[0]["dur"], 5.4);
  const auto wait = with(trace, "cat", "wait");
  ASSERT_EQ(wait.size(), 2U);
  EXPECT_EQ(wait[0]["name"], "mutex");
  EXPECT_EQ(wait[0]["ts"], 2.5);
  EXPECT_EQ(wait[1]["ts"], 7.0);
  const auto arrow = with(trace, "cat", "wake");
  ASSERT_EQ(arrow.size(), 2U);
  EXPECT_EQ(arrow[0]["ph"], "s");
  EXPECT_EQ(arrow[0]["tid"], 1);
  EXPECT_EQ(arrow[1]["ph"], "f");
  EXPECT_EQ(arrow[1]["tid"], 0);
  EXPECT_EQ(arrow[1]["ts"], 8.5);
  EXPECT_EQ(arrow[0]["id"], arrow[1]["id"]);
  EXPECT_EQ(with(trace, "name", "steal").size(), 1U);
  EXPECT_EQ(with(trace, "name", "submit")[0]["args"]["count"], 4);
  EXPECT_EQ(with(trace, "name", "thread_name").back()["args"]["name"], "outside");
}

TEST(Trace, OfNothingIsATraceStill) {
  const json trace = json::parse(trace_to_json("nothing", {}));
  EXPECT_TRUE(trace["traceEvents"].is_array());
}

// What the fiber that is named so would note of itself.
void on_a_fiber(const char* name, FunctionRef<void(FiberState&)> body) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->spawn(name, [&] { body(*current_fiber()); }).join();
}

TEST(Observer, KeepsTheNewestEventsInTheirOrder) {
  on_a_fiber("busy", [](FiberState& fiber) {
    Observer observer(false);
    observer.note(TraceKind::kSpawn, &fiber, 0, 1);
    EXPECT_TRUE(observer.take_trace().empty()) << "nobody has asked";
    observer.start_trace(8);
    for (int i = 1; i <= 21; ++i) observer.note(TraceKind::kSpawn, &fiber, 0, i);
    auto events = observer.take_trace();
    ASSERT_EQ(events.size(), 8U);
    for (int i = 0; i < 8; ++i) EXPECT_EQ(events[static_cast<std::size_t>(i)].at_ns, 14 + i);
    EXPECT_EQ(events[0].fiber, fiber.id);
    EXPECT_STREQ(events[0].name, "busy");
    observer.note(TraceKind::kSpawn, &fiber, 0, 30);
    EXPECT_TRUE(observer.take_trace().empty());
  });
}

TEST(Observer, CountsFromReadyToRunningAndTheSlice) {
  on_a_fiber("timed", [](FiberState& fiber) {
    Observer observer(true);
    for (int i = 0; i < 100; ++i) {
      const std::int64_t base = 1'000'000 * (i + 1);
      observer.becomes_ready(fiber, TraceKind::kWake, nullptr, base);
      observer.runs(fiber, base + (i < 90 ? 1'000 : 50'000));
      observer.leaves(fiber, TraceKind::kPark, base + 60'000);
    }
    Histogram::Reading waits, slices;
    observer.wait_to_run().add_to(waits);
    observer.slices().add_to(slices);
    EXPECT_EQ(waits.count, 100U);
    EXPECT_EQ(slices.count, 100U);
    EXPECT_NEAR(static_cast<double>(waits.quantile(0.5)), 1'000, 125);
    EXPECT_NEAR(static_cast<double>(waits.quantile(0.99)), 50'000, 6'250);
    EXPECT_NEAR(static_cast<double>(slices.quantile(0.5)), 59'000, 7'375);
  });
}

TEST(Trace, OfARuntimeShowsItsFibersAndWhoWokeWhom) {
  auto runtime = Runtime::create({.name = "traced", .workers = 2});
  ASSERT_TRUE(runtime.has_value());
  EXPECT_FALSE(runtime->stop_trace().has_value()) << "none was begun";
  ASSERT_TRUE(runtime->start_trace().has_value());
  EXPECT_EQ(runtime->start_trace().error(), Errc::kBusy);
  runtime->block_on([] {
    Semaphore ping(0), pong(0);
    Fiber other = spawn("other", [&] {
      for (int i = 0; i < 10; ++i) {
        (void)ping.acquire();
        pong.release();
      }
    });
    for (int i = 0; i < 10; ++i) {
      ping.release();
      (void)pong.acquire();
      yield();
    }
    (void)sleep_for(std::chrono::milliseconds(2));
    other.join();
  });
  auto text = runtime->stop_trace();
  ASSERT_TRUE(text.has_value());
  const json trace = json::parse(*text);
  std::size_t mine = 0;
  for (const json& slice : with(trace, "cat", "run")) {
    EXPECT_TRUE(slice["name"] == "other" || slice["name"] == "block_on") << slice;
    if (slice["ph"] == "X") {
      EXPECT_GE(slice["dur"], 0.0);
    }
    mine += slice["name"] == "other" ? 1U : 0U;
  }
  EXPECT_GE(mine, 2U);
  EXPECT_GE(with(trace, "cat", "wake").size(), 4U);
  EXPECT_GE(with(trace, "cat", "spawn").size(), 2U);
  EXPECT_GE(with(trace, "name", "semaphore").size(), 2U);
  EXPECT_GE(with(trace, "name", "sleep").size(), 2U);
  ASSERT_TRUE(runtime->start_trace({.events_per_worker = 16}).has_value()) << "and again";
  runtime->block_on([] {
    for (int i = 0; i < 1000; ++i) yield();
  });
  text = runtime->stop_trace();
  ASSERT_TRUE(text.has_value());
  EXPECT_TRUE(json::accept(*text));
}

}  // namespace
}  // namespace weft::sched
