#include "sched/trace.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <tuple>
#include <utility>

#include "sched/json_text.h"
#include "sched/observer.h"

namespace weft::sched {
namespace {

class Writer {
 public:
  explicit Writer(std::int64_t zero_ns) : zero_ns_(zero_ns) {}

  // Leaves the object open for finish().
  Writer& event(const char* phase, std::string_view name, std::size_t track, std::int64_t at_ns) {
    out_ += out_.empty() ? "{\"traceEvents\":[\n" : ",\n";
    out_ += "{\"ph\":\"";
    out_ += phase;
    out_ += "\",\"name\":" + json_quoted(name) + ",\"pid\":" + process_ + ",\"tid\":" + std::to_string(track) +
            ",\"ts\":" + microseconds(at_ns - zero_ns_);
    return *this;
  }
  Writer& text(const char* key, std::string_view value) {
    out_ += ",\"" + std::string(key) + "\":" + json_quoted(value);
    return *this;
  }
  Writer& duration(std::int64_t ns) {
    out_ += ",\"dur\":" + microseconds(ns);
    return *this;
  }
  Writer& number(const char* key, std::uint64_t value) {
    out_ += ",\"" + std::string(key) + "\":" + std::to_string(value);
    return *this;
  }
  Writer& arguments() {
    out_ += ",\"args\":{\"_\":0";
    in_arguments_ = true;
    return *this;
  }
  void finish() { out_ += std::exchange(in_arguments_, false) ? "}}" : "}"; }
  std::string done() && {
    out_ += out_.empty() ? "{\"traceEvents\":[]" : "\n]";
    return std::move(out_) + ",\"displayTimeUnit\":\"ns\"}\n";
  }

 private:
  static std::string microseconds(std::int64_t ns) {
    char text[32];
    std::snprintf(text, sizeof text, "%lld.%03d", static_cast<long long>(ns / 1000), static_cast<int>(ns % 1000));
    return text;
  }
  const std::int64_t zero_ns_;
  const std::string process_ = std::to_string(getpid());
  std::string out_;
  bool in_arguments_ = false;
};

const char* ending_of(TraceKind kind, const TraceEvent& event) noexcept {
  switch (kind) {
    case TraceKind::kYield: return "yielded";
    case TraceKind::kPark: return event.reason != nullptr ? event.reason : "parked";
    case TraceKind::kEnd: return "ended";
    default: return "";
  }
}

struct Slice {
  std::int64_t began_ns;
  std::int64_t ended_ns;
  std::size_t track;
};

}  // namespace

std::string trace_to_json(std::string_view runtime_name, const std::vector<std::vector<TraceEvent>>& tracks) {
  std::int64_t zero_ns = 0;
  for (const auto& events : tracks)
    if (!events.empty() && (zero_ns == 0 || events.front().at_ns < zero_ns)) zero_ns = events.front().at_ns;
  Writer json(zero_ns);
  json.event("M", "process_name", 0, zero_ns).arguments().text("name", "weft runtime " + std::string(runtime_name));
  json.finish();
  for (std::size_t track = 0; track < tracks.size(); ++track) {
    json.event("M", "thread_name", track, zero_ns).arguments();
    json.text("name", track + 1 == tracks.size() ? "outside" : "worker " + std::to_string(track)).finish();
  }

  std::map<std::uint64_t, std::vector<Slice>> runs;                               // of each fiber
  std::vector<std::tuple<std::int64_t, std::size_t, const TraceEvent*>> readied;  // wakes and spawns
  std::map<std::uint64_t, std::vector<std::pair<std::int64_t, const TraceEvent*>>> waits;
  for (std::size_t track = 0; track < tracks.size(); ++track) {
    const TraceEvent* running = nullptr;
    const TraceEvent* asleep = nullptr;
    for (const TraceEvent& event : tracks[track]) {
      switch (event.kind) {
        case TraceKind::kRun: running = &event; break;
        case TraceKind::kPark: waits[event.fiber].emplace_back(event.at_ns, &event); [[fallthrough]];
        case TraceKind::kYield:
        case TraceKind::kEnd:
          // The begin may have been overwritten.
          if (running == nullptr || running->fiber != event.fiber) break;
          json.event("X", event.name, track, running->at_ns).duration(event.at_ns - running->at_ns).text("cat", "run");
          json.arguments().number("fiber", event.fiber).text("then", ending_of(event.kind, event)).finish();
          runs[event.fiber].push_back({running->at_ns, event.at_ns, track});
          running = nullptr;
          break;
        case TraceKind::kWake:
        case TraceKind::kSpawn: readied.emplace_back(event.at_ns, track, &event); break;
        case TraceKind::kSleep: asleep = &event; break;
        case TraceKind::kAwake:
          if (asleep == nullptr) break;
          json.event("X", "asleep", track, asleep->at_ns).duration(event.at_ns - asleep->at_ns).text("cat", "sleep");
          json.finish();
          asleep = nullptr;
          break;
        case TraceKind::kSteal:
          json.event("i", "steal", track, event.at_ns).text("s", "t").text("cat", "steal").arguments();
          json.number("from_worker", event.other).number("fiber", event.fiber).finish();
          break;
        case TraceKind::kSubmit:
        case TraceKind::kComplete:
          json.event("i", event.kind == TraceKind::kSubmit ? "submit" : "complete", track, event.at_ns);
          json.text("s", "t").text("cat", "io").arguments().number("count", event.other).finish();
          break;
      }
    }
    // What still runs.
    if (running != nullptr) {
      json.event("B", running->name, track, running->at_ns).text("cat", "run").arguments();
      json.number("fiber", running->fiber).finish();
    }
  }

  for (auto& [fiber, slices] : runs)
    std::sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) { return a.began_ns < b.began_ns; });
  std::sort(readied.begin(), readied.end());
  std::uint64_t arrow = 0;
  for (const auto& [at_ns, track, event] : readied) {
    const char* name = event->kind == TraceKind::kWake ? "wake" : "spawn";
    if (auto found = waits.find(event->fiber); event->kind == TraceKind::kWake && found != waits.end()) {
      // The wait that it ended: the last one that had begun.
      auto& list = found->second;
      auto wait = std::find_if(list.rbegin(), list.rend(), [at = at_ns](const auto& w) { return w.first <= at; });
      if (wait != list.rend() && wait->second != nullptr) {
        const char* reason = wait->second->reason != nullptr ? wait->second->reason : "wait";
        json.event("b", reason, track, wait->first).text("cat", "wait").number("id", event->fiber).arguments();
        json.text("fiber", event->name).finish();
        json.event("e", reason, track, at_ns).text("cat", "wait").number("id", event->fiber).finish();
        wait->second = nullptr;
      }
    }
    const auto found = runs.find(event->fiber);
    if (found == runs.end()) continue;
    auto next = std::lower_bound(found->second.begin(), found->second.end(), at_ns,
                                 [](const Slice& slice, std::int64_t at) { return slice.began_ns < at; });
    if (next == found->second.end()) continue;
    ++arrow;
    json.event("s", name, track, at_ns).text("cat", name).number("id", arrow).finish();
    json.event("f", name, next->track, next->began_ns).text("cat", name).text("bp", "e").number("id", arrow).finish();
  }
  return std::move(json).done();
}

}  // namespace weft::sched
