#include "sched/hog_watch.h"

#include <time.h>

#include <utility>

#include "kernel/log.h"
#include "sched/backtrace.h"
#include "sched/thread_probe.h"

namespace weft::sched {
namespace {

std::int64_t cpu_time_ns(pthread_t thread) noexcept {
  clockid_t clock{};
  timespec had{};
  if (pthread_getcpuclockid(thread, &clock) != 0 || clock_gettime(clock, &had) != 0) return 0;
  return had.tv_sec * 1'000'000'000 + had.tv_nsec;
}

}  // namespace

std::string to_text(const HogReport& report) {
  std::string text = "fiber \"" + report.fiber + "\" (" + std::to_string(report.id) + ") has held worker " +
                     std::to_string(report.worker) + " for " + std::to_string(report.held.count() / 1'000'000) +
                     " ms while others wait";
  if (!report.computes) text += ", without using CPU time";
  if (!report.backtrace.empty()) {
    text += ", at ";
    for (std::size_t i = 0; i < report.backtrace.size(); ++i) text += (i == 0 ? "" : " < ") + report.backtrace[i];
  }
  if (report.kept_back != 0) text += " (" + std::to_string(report.kept_back) + " more like it not reported)";
  return text;
}

HogWatch::HogWatch(std::chrono::nanoseconds limit, HogHandler handler, std::size_t workers)
    : limit_ns_(limit.count()), handler_(std::move(handler)), seen_(workers) {}

void HogWatch::look(const Sight& sight, std::int64_t now_ns) {
  if (limit_ns_ <= 0) return;
  Seen& seen = seen_[sight.worker];
  if (!sight.runs_fiber || sight.switches != seen.switches || seen.since_ns == 0) {
    seen = {.switches = sight.switches, .since_ns = now_ns};
    return;
  }
  const std::int64_t held_ns = now_ns - seen.since_ns;
  if (seen.reported || held_ns < limit_ns_ / 2) return;
  const std::int64_t cpu_ns = cpu_time_ns(sight.thread);
  const bool computes = seen.looked_ns != 0 && cpu_ns - seen.cpu_ns > (now_ns - seen.looked_ns) / 4;
  seen.cpu_ns = cpu_ns;
  seen.looked_ns = now_ns;
  if (!sight.others_wait || held_ns < (computes ? limit_ns_ : 2 * limit_ns_)) return;
  seen.reported = true;
  if (reported_at_ns_ != 0 && now_ns - reported_at_ns_ < kBetweenReportsNs) {
    ++kept_back_;
    return;
  }
  reported_at_ns_ = now_ns;
  report(sight, held_ns, computes);
}

void HogWatch::report(const Sight& sight, std::int64_t held_ns, bool computes) {
  HogReport report;
  report.worker = sight.worker;
  report.held = std::chrono::nanoseconds(held_ns);
  report.computes = computes;
  report.kept_back = std::exchange(kept_back_, 0);
  if (computes) {
    const ThreadProbe probe = probe_thread(sight.thread);
    if (probe.answered && probe.fiber_id == 0) return;  // it has let go meanwhile
    if (probe.answered) {
      report.fiber = probe.fiber_name.data();
      report.id = probe.fiber_id;
      Symbolizer symbolizer;
      for (std::size_t i = 0; i < probe.place_count; ++i)
        report.backtrace.push_back(symbolizer.describe(probe.places[i]));
    }
  }
  if (report.id == 0) sight.name(report);
  if (handler_) {
    handler_(report);
  } else {
    log_warning("%s", to_text(report).c_str());
  }
}

}  // namespace weft::sched
