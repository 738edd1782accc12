// sched/report.cc - gathers what inspect.h and trace.h show of a runtime, while it runs on.
//
// A fiber is looked at with a reference held, so it and its stack stay memory of their kind; it may run on, end and leave its
// stack meanwhile. What its stack shows counts only if it was parked in the same place before and after the look.
#include <algorithm>
#include <array>
#include <cstdio>
#include <mutex>
#include <span>

#include "sched/backtrace.h"
#include "sched/fiber.h"
#include "sched/inspect.h"
#include "sched/runtimes.h"
#include "sched/saved_frame.h"
#include "sched/scheduler.h"

namespace weft::sched {
namespace {

constexpr std::size_t kDeepest = 32;  // frames

struct Saved {
  Stack stack;
  const std::byte* stack_pointer = nullptr;
};

// Written by a worker as it pleases; what is torn is found out by seems_parked().
__attribute__((no_sanitize("thread"), noinline)) Saved saved_place(const FiberState& fiber) noexcept {
  const auto* volatile at = &fiber;
  return {at->stack, static_cast<const std::byte*>(at->context.stack_pointer())};
}

bool is_place(const Saved& saved) noexcept {
  return saved.stack && saved.stack.holds(saved.stack_pointer) &&
         saved.stack.holds(saved.stack_pointer + kSavedFrameBytes);
}

const char* word_for(FiberPhase phase) noexcept {
  switch (phase) {
    case FiberPhase::kQueued: return "queued";
    case FiberPhase::kRunning: return "running";
    case FiberPhase::kParked: return "parked";
    case FiberPhase::kEnded: return "ended";
  }
  return "?";
}

class FiberReporter {
 public:
  FiberReporter(const ReportOptions& options, std::int64_t now_ns, bool simulated)
      : options_(options), now_ns_(now_ns), simulated_(simulated) {}

  FiberReport report(const FiberState& fiber) {
    FiberReport line;
    line.id = fiber.id;
    line.name = fiber.name;
    line.spawned_by = fiber.spawned_by.load(std::memory_order_relaxed);
    line.state = word_for(fiber.phase.load(std::memory_order_acquire));
    if (const Worker* home = fiber.pinned.load(std::memory_order_relaxed))
      line.pinned_to = static_cast<int>(home->index());
    if (line.state == "parked") add_wait(fiber, line);
    if (line.state == "queued" && fiber.wait_reason.load(std::memory_order_relaxed) == kWaitsForStack)
      line.wait_reason = kWaitsForStack;
    return line;
  }

 private:
  void add_wait(const FiberState& fiber, FiberReport& line) {
    const char* reason = fiber.wait_reason.load(std::memory_order_relaxed);
    if (reason != nullptr) line.wait_reason = reason;
    if (reason == kJoinsInline)
      return;  // its frames lie below those of the one it joins, and are in that one's backtrace
    // Not in a simulation, where the same seed gives the same words.
    if (!simulated_) line.waits_for = reinterpret_cast<std::uintptr_t>(fiber.waits_for.load(std::memory_order_relaxed));
    const std::int64_t parked_at = fiber.parked_at_ns.load(std::memory_order_relaxed);
    if (parked_at > 0) line.parked_for_ns = std::max<std::int64_t>(now_ns_ - parked_at, 0);
    const std::int64_t ends_at = fiber.wait_ends_ns.load(std::memory_order_relaxed);
    if (ends_at != Timers::kNothing) line.ends_in_ns = std::max<std::int64_t>(ends_at - now_ns_, 0);
    const Saved saved = saved_place(fiber);
    if (!is_place(saved)) return;
    std::array<const void*, kDeepest> places{};
    std::size_t count = 0;
    if (options_.backtraces) {
      const std::byte* end = saved.stack.bottom + saved.stack.size_bytes;
      count = walk_frames(saved_frame(saved.stack_pointer), saved.stack_pointer, end, places);
    }
    if (fiber.phase.load(std::memory_order_acquire) != FiberPhase::kParked) return;
    if (saved_place(fiber).stack_pointer != saved.stack_pointer) return;
    if (fiber.parked_at_ns.load(std::memory_order_relaxed) != parked_at) return;
    line.stack_bytes = saved.stack.size_bytes;
    line.stack_used_bytes =
        static_cast<std::uint64_t>(saved.stack.bottom + saved.stack.size_bytes - saved.stack_pointer);
    if (options_.stack_depths) line.stack_deepest_bytes = touched_bytes(saved.stack);
    for (const void* place : std::span(places).first(count)) line.backtrace.push_back(names_.describe(place));
  }

  const ReportOptions options_;
  const std::int64_t now_ns_;
  const bool simulated_;
  Symbolizer names_;
};

LatencyReport summary(const Histogram::Reading& reading) {
  if (reading.count == 0) return {};
  return {.count = reading.count,
          .mean_ns = reading.sum / reading.count,
          .p50_ns = reading.quantile(0.5),
          .p90_ns = reading.quantile(0.9),
          .p99_ns = reading.quantile(0.99),
          .p999_ns = reading.quantile(0.999),
          .most_ns = reading.quantile(1.0)};
}

}  // namespace

RuntimeReport Scheduler::report(const ReportOptions& options) const {
  RuntimeReport report;
  report.name = options_.name;
  Histogram::Reading waits, slices;
  for (const auto& worker : workers_) {
    report.workers.push_back(worker->counters());
    if (const Observer* observer = worker->observer()) {
      observer->wait_to_run().add_to(waits);
      observer->slices().add_to(slices);
    }
  }
  report.ready_to_running = summary(waits);
  report.slices = summary(slices);
  report.groups = classes_.groups();
  report.high_queued = classes_.high_ready();
  report.idle_queued = classes_.idle_ready();
  FiberReporter reporter(options, now_ns(), options_.simulated);
  pool_->for_each([&](const FiberState& fiber) {
    if (fiber.phase.load(std::memory_order_relaxed) != FiberPhase::kEnded)
      report.fibers.push_back(reporter.report(fiber));
  });
  std::sort(report.fibers.begin(), report.fibers.end(),
            [](const FiberReport& a, const FiberReport& b) { return a.id < b.id; });
  report.stacks = stacks_.made();
  for (const StackUse& use : stacks_.use(options.stack_depths)) {
    if (use.made == 0) continue;
    report.stack_sizes.push_back({.stack_bytes = use.stack_bytes,
                                  .made = use.made,
                                  .in_use = use.with_fibers,
                                  .deepest_bytes = use.high_water_bytes});
  }
  return report;
}

// --- Deadlocks and traces -------------------------------------------------------------------------------------------

void Scheduler::look_for_deadlock(std::uint64_t switches) {
  const std::int64_t now = now_ns();
  if (switches != still_switches_ || still_since_ns_ == 0) {
    still_switches_ = switches;
    still_since_ns_ = now;
    deadlock_reported_ = false;
    return;
  }
  if (deadlock_reported_ || now - still_since_ns_ < options_.deadlock_report.count()) return;
  const RuntimeReport found = report({.backtraces = true, .stack_depths = false});
  if (!found.looks_deadlocked()) return;
  deadlock_reported_ = true;
  std::fputs(("weft: all fibers wait for each other\n" + to_text(found)).c_str(), stderr);
}

Status Scheduler::start_trace(const TraceOptions& options) {
  const std::lock_guard guard(trace_lock_);
  if (tracing_) return fail(Errc::kBusy, "a trace of this runtime is being taken already");
  if (options.events_per_worker == 0) return fail(Errc::kInvalid, "a trace needs room for events");
  tracing_ = true;
  for (auto& worker : workers_) {
    if (worker->observer() == nullptr) worker->observe_with(std::make_unique<Observer>(false));
    worker->observer()->start_trace(options.events_per_worker);
  }
  outside_observer_.start_trace(options.events_per_worker);
  return {};
}

Result<std::string> Scheduler::stop_trace() {
  std::vector<std::vector<TraceEvent>> tracks;
  {
    const std::lock_guard guard(trace_lock_);
    if (!tracing_) return fail(Errc::kInvalid, "no trace of this runtime is being taken");
    tracing_ = false;
    for (auto& worker : workers_) tracks.push_back(worker->observer()->take_trace());
    tracks.push_back(outside_observer_.take_trace());
  }
  return trace_to_json(options_.name, tracks);
}

std::string report_all(const ReportOptions& options) {
  std::string text;
  for_each_runtime([&](const Scheduler& scheduler) { text += to_text(scheduler.report(options)); });
  return text.empty() ? "no runtime lives\n" : text;
}

}  // namespace weft::sched
