#include "sched/inspect.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "sched/json_text.h"

namespace weft::sched {
namespace {

std::string number(const char* format, double value) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string duration(std::uint64_t ns) {
  const auto value = static_cast<double>(ns);
  if (ns < 1'000) return std::to_string(ns) + " ns";
  if (ns < 1'000'000) return number("%.1f us", value / 1e3);
  if (ns < 1'000'000'000) return number("%.1f ms", value / 1e6);
  return number("%.2f s", value / 1e9);
}

std::string hex(std::uintptr_t address) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
  return text;
}

std::string count_of(std::uint64_t count, const char* what) { return std::to_string(count) + " " + what; }

std::string latency_text(const char* name, const LatencyReport& latency) {
  if (latency.count == 0) return {};
  return std::string("  ") + name + ": " + count_of(latency.count, "times, mean ") + duration(latency.mean_ns) +
         ", p50 " + duration(latency.p50_ns) + ", p90 " + duration(latency.p90_ns) + ", p99 " +
         duration(latency.p99_ns) + ", p99.9 " + duration(latency.p999_ns) + ", most " + duration(latency.most_ns) +
         "\n";
}

constexpr std::pair<const char*, std::uint64_t WorkerCounters::*> kCounters[] = {
    {"queued", &WorkerCounters::queued},         {"switches", &WorkerCounters::switches},
    {"parks", &WorkerCounters::parks},           {"spawned", &WorkerCounters::spawned},
    {"steals", &WorkerCounters::steals},         {"searches", &WorkerCounters::searches},
    {"injected", &WorkerCounters::injected},     {"sleeps", &WorkerCounters::sleeps},
    {"wakes_sent", &WorkerCounters::wakes_sent}, {"submitted", &WorkerCounters::submitted},
    {"completed", &WorkerCounters::completed},   {"enters", &WorkerCounters::enters},
};

std::string worker_text(std::size_t index, const WorkerCounters& worker) {
  std::string text = "  worker " + std::to_string(index);
  if (worker.running != 0) {
    text += " runs fiber " + std::to_string(worker.running);
  } else {
    text += worker.asleep ? " asleep" : " awake";
  }
  text += ':';
  const char* between = " ";
  for (const auto& [name, counter] : kCounters) {
    std::string words(name);
    std::replace(words.begin(), words.end(), '_', ' ');
    text += std::exchange(between, ", ") + count_of(worker.*counter, words.c_str());
  }
  return text + '\n';
}

std::string group_text(const GroupReport& group) {
  return "  group \"" + printable(group.name) + "\": " + count_of(group.shares, "shares, ") +
         count_of(group.active, "active, ") + count_of(group.queued, "queued, virtual time ") +
         duration(static_cast<std::uint64_t>(group.virtual_ns)) + "\n";
}

std::string fiber_text(const FiberReport& fiber) {
  std::string text = "  fiber " + std::to_string(fiber.id) + " \"" + printable(fiber.name) + "\" " + fiber.state;
  if (!fiber.wait_reason.empty()) {
    text += " (" + fiber.wait_reason;
    if (fiber.waits_for != 0) text += " " + hex(fiber.waits_for);
    text += ")";
  }
  if (fiber.parked_for_ns >= 0) text += " for " + duration(static_cast<std::uint64_t>(fiber.parked_for_ns));
  if (fiber.ends_in_ns >= 0) text += ", ends in " + duration(static_cast<std::uint64_t>(fiber.ends_in_ns));
  if (fiber.spawned_by != 0) text += ", spawned by " + std::to_string(fiber.spawned_by);
  if (fiber.pinned_to >= 0) text += ", pinned to worker " + std::to_string(fiber.pinned_to);
  if (fiber.stack_used_bytes != 0) {
    text += ", " + std::to_string(fiber.stack_used_bytes) + " of " + std::to_string(fiber.stack_bytes / 1024) +
            " KiB stack";
    if (fiber.stack_deepest_bytes != 0)
      text += " (deepest " + std::to_string(fiber.stack_deepest_bytes / 1024) + " KiB)";
  }
  text += '\n';
  for (const std::string& place : fiber.backtrace) text += "      " + place + '\n';
  return text;
}

// --- JSON -----------------------------------------------------------------------------------------------------------

class Object {
 public:
  Object& add(const char* key, std::uint64_t value) { return raw(key, std::to_string(value)); }
  Object& add(const char* key, std::string_view value) { return raw(key, json_quoted(value)); }
  Object& raw(const char* key, std::string_view value) {
    text_ += text_.empty() ? "{" : ", ";
    ((text_ += '"') += key) += "\": ";
    text_ += value;
    return *this;
  }
  [[nodiscard]] std::string text() const { return text_.empty() ? "{}" : text_ + "}"; }

 private:
  std::string text_;
};

template <typename List, typename F>
std::string array_of(const List& list, F&& text_of, const char* between = ",\n  ") {
  std::string text = "[";
  bool first = true;
  for (const auto& item : list) {
    if (!std::exchange(first, false)) text += between;
    text += text_of(item);
  }
  return text + "]";
}

std::string worker_json(const WorkerCounters& worker) {
  Object object;
  for (const auto& [name, counter] : kCounters) object.add(name, worker.*counter);
  object.add("running", worker.running).raw("asleep", worker.asleep ? "true" : "false");
  return object.text();
}

std::string fiber_json(const FiberReport& fiber) {
  Object object;
  object.add("id", fiber.id).add("name", fiber.name).add("state", fiber.state);
  if (fiber.spawned_by != 0) object.add("spawned_by", fiber.spawned_by);
  if (!fiber.wait_reason.empty()) object.add("wait_reason", fiber.wait_reason);
  if (fiber.waits_for != 0) object.add("waits_for", hex(fiber.waits_for));
  if (fiber.parked_for_ns >= 0) object.add("parked_for_ns", static_cast<std::uint64_t>(fiber.parked_for_ns));
  if (fiber.ends_in_ns >= 0) object.add("ends_in_ns", static_cast<std::uint64_t>(fiber.ends_in_ns));
  if (fiber.pinned_to >= 0) object.add("pinned_to", static_cast<std::uint64_t>(fiber.pinned_to));
  if (fiber.stack_bytes != 0) object.add("stack_bytes", fiber.stack_bytes);
  if (fiber.stack_used_bytes != 0) object.add("stack_used_bytes", fiber.stack_used_bytes);
  if (fiber.stack_deepest_bytes != 0) object.add("stack_deepest_bytes", fiber.stack_deepest_bytes);
  if (!fiber.backtrace.empty()) object.raw("backtrace", array_of(fiber.backtrace, json_quoted, ", "));
  return object.text();
}

std::string group_json(const GroupReport& group) {
  return Object()
      .add("name", group.name)
      .add("shares", group.shares)
      .add("active", group.active)
      .add("queued", group.queued)
      .add("virtual_ns", static_cast<std::uint64_t>(group.virtual_ns))
      .text();
}

std::string stack_json(const StackReport& stack) {
  Object object;
  object.add("stack_bytes", stack.stack_bytes).add("made", stack.made).add("in_use", stack.in_use);
  if (stack.deepest_bytes != 0) object.add("deepest_bytes", stack.deepest_bytes);
  return object.text();
}

std::string latency_json(const LatencyReport& latency) {
  return Object()
      .add("count", latency.count)
      .add("mean_ns", latency.mean_ns)
      .add("p50_ns", latency.p50_ns)
      .add("p90_ns", latency.p90_ns)
      .add("p99_ns", latency.p99_ns)
      .add("p999_ns", latency.p999_ns)
      .add("most_ns", latency.most_ns)
      .text();
}

}  // namespace

bool RuntimeReport::looks_deadlocked() const noexcept {
  if (fibers.empty()) return false;
  return std::all_of(fibers.begin(), fibers.end(), [](const FiberReport& fiber) {
    return fiber.state == "parked" && fiber.ends_in_ns < 0 && fiber.wait_reason != "sleep" &&
           fiber.wait_reason != "io" && fiber.wait_reason != "poll" && fiber.wait_reason != "offload";
  });
}

std::string to_text(const RuntimeReport& report) {
  std::string text = "runtime \"" + printable(report.name) + "\": " + std::to_string(report.fibers.size()) +
                     " fibers, " + std::to_string(report.workers.size()) + " workers, " +
                     std::to_string(report.stacks) + " stacks\n";
  for (std::size_t i = 0; i < report.workers.size(); ++i) text += worker_text(i, report.workers[i]);
  for (const GroupReport& group : report.groups) text += group_text(group);
  if (report.high_queued != 0) text += "  class high: " + count_of(report.high_queued, "queued\n");
  if (report.idle_queued != 0) text += "  class idle: " + count_of(report.idle_queued, "queued\n");
  text += latency_text("ready to running", report.ready_to_running);
  text += latency_text("slices", report.slices);
  for (const StackReport& stack : report.stack_sizes) {
    text += "  stacks of " + std::to_string(stack.stack_bytes / 1024) + " KiB: " + count_of(stack.made, "made, ") +
            count_of(stack.in_use, "in use");
    if (stack.deepest_bytes != 0) text += ", deepest " + std::to_string(stack.deepest_bytes / 1024) + " KiB";
    text += '\n';
  }
  for (const FiberReport& fiber : report.fibers) text += fiber_text(fiber);
  if (report.looks_deadlocked()) text += "  all fibers wait for each other\n";
  return text;
}

std::string to_json(const RuntimeReport& report) {
  Object object;
  object.add("name", report.name).add("stacks", report.stacks);
  object.raw("workers", array_of(report.workers, worker_json));
  if (!report.groups.empty()) object.raw("groups", array_of(report.groups, group_json));
  if (report.high_queued != 0) object.add("high_queued", report.high_queued);
  if (report.idle_queued != 0) object.add("idle_queued", report.idle_queued);
  if (report.ready_to_running.count != 0) object.raw("ready_to_running", latency_json(report.ready_to_running));
  if (report.slices.count != 0) object.raw("slices", latency_json(report.slices));
  if (!report.stack_sizes.empty()) object.raw("stack_sizes", array_of(report.stack_sizes, stack_json));
  object.raw("fibers", array_of(report.fibers, fiber_json));
  object.raw("looks_deadlocked", report.looks_deadlocked() ? "true" : "false");
  return object.text() + "\n";
}

}  // namespace weft::sched
