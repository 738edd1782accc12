// sched/hog_watch.h - notices the hogs among the workers of one runtime, and reports them. Internal to sched/.
//
//   Scheduler::watch(), every few milliseconds -> [hog watch] -> the options' on_hog, or the log
//
// One report for each time that a fiber holds on, and at most one a kBetweenReports: those in between are counted. One that uses
// CPU time is asked where it is; one that does not, and so probably blocks in a system call, is left alone: a signal could
// break the call off. Its report comes at twice the limit, because a machine that is busy looks the same for a while.
// Of the watching thread only. Tests: tests/sched/hog_test.cc.
#pragma once

#include <pthread.h>

#include <chrono>
#include <cstdint>
#include <vector>

#include "kernel/function_ref.h"
#include "sched/hog.h"

namespace weft::sched {

class HogWatch {
 public:
  static constexpr std::int64_t kBetweenReportsNs = 1'000'000'000;

  // A limit of zero: notices nothing. Without a handler: a line in the log.
  HogWatch(std::chrono::nanoseconds limit, HogHandler handler, std::size_t workers);

  struct Sight {
    unsigned worker = 0;
    pthread_t thread{};
    std::uint64_t switches = 0;
    bool runs_fiber = false;
    bool others_wait = false;            // for this worker, or for any
    FunctionRef<void(HogReport&)> name;  // fills in name and id of the fiber, where its thread cannot be asked
  };
  void look(const Sight& sight, std::int64_t now_ns);

 private:
  struct Seen {
    std::uint64_t switches = 0;
    std::int64_t since_ns = 0;   // that it has not switched
    std::int64_t cpu_ns = 0;     // of its thread, when last looked at
    std::int64_t looked_ns = 0;  // when that was
    bool reported = false;
  };
  void report(const Sight& sight, std::int64_t held_ns, bool computes);

  const std::int64_t limit_ns_;
  const HogHandler handler_;
  std::vector<Seen> seen_;
  std::int64_t reported_at_ns_ = 0;
  std::uint64_t kept_back_ = 0;
};

}  // namespace weft::sched
