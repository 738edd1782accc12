// sched/inspect.h - what a runtime is doing: its fibers, what each waits for and where, its workers' counters and latencies.
//
//   std::fputs(sched::to_text(runtime.report({.backtraces = true})).c_str(), stderr);
//   sched::DumpOnSignal dump(SIGQUIT);      // kill -QUIT: the same of all runtimes, from a thread of its own
//
// A snapshot taken while all runs on: each line is true by itself, the whole is not one moment; a backtrace whose fiber moved
// while it was taken is left out. Ages are exact to some milliseconds, or to the longest slice that ran on the worker before.
//
// Backtraces follow frame pointers: they go through code built with -fno-omit-frame-pointer, as this library is, and end at
// other code. gdb's `weft bt` (sched/weft-gdb.py) does without them, also in a core.
//
// Thread- and fiber-safe; nothing parks. A report takes spinlocks that spawns and ends of fibers take, too: some microseconds
// for each fiber with its backtrace. Tests: tests/sched/inspect_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernel/result.h"

namespace weft::sched {

// Whether "weft: fiber NAME overflowed its N KiB stack" is said, with where it was, before the fault ends the process. Of
// every other fault nothing is changed.
enum class OverflowReport : std::uint8_t {
  kOff,
  kUnlessHandled,  // not where the program has a handler of its own for SIGSEGV or SIGBUS when the runtime begins
  kAlways,         // and then goes on to the program's handler
};

// All but the last three only grow.
struct WorkerCounters {
  std::uint64_t switches = 0;  // to a fiber
  std::uint64_t parks = 0;     // fibers that began to wait
  std::uint64_t spawned = 0;
  std::uint64_t steals = 0;      // times it took fibers from another worker
  std::uint64_t searches = 0;    // times it had nothing of its own to run
  std::uint64_t injected = 0;    // fibers it took that came from outside
  std::uint64_t sleeps = 0;      // of the thread, in the kernel
  std::uint64_t wakes_sent = 0;  // to sleeping workers
  std::uint64_t submitted = 0;   // requests to its ring
  std::uint64_t completed = 0;   // that came back
  std::uint64_t enters = 0;      // calls into the kernel for its ring
  std::uint64_t queued = 0;      // ready fibers in its own queue now
  std::uint64_t running = 0;     // the fiber it is on now, by id; 0: none
  bool asleep = false;
};

struct FiberReport {
  std::uint64_t id = 0;
  std::string name;
  std::uint64_t spawned_by = 0;  // a fiber's id; 0: a plain thread
  std::string state;             // "queued" (ready to run), "running", "parked", "ended"
  std::string wait_reason;       // of a parked one: "mutex", "sleep", "io" ...
  // The address of that mutex or whatever it is, where it is known: of a select its first channel (by address), of I/O the request as
  // the kernel knows it (its user_data), of an offloaded call the job.
  std::uintptr_t waits_for = 0;
  std::int64_t parked_for_ns = -1;  // of a parked one
  std::int64_t ends_in_ns = -1;     // its deadline; -1: it has none
  int pinned_to = -1;
  std::uint64_t stack_bytes = 0;          // 0: has none, as before it first runs
  std::uint64_t stack_used_bytes = 0;     // of a parked one
  std::uint64_t stack_deepest_bytes = 0;  // in whole pages, of all fibers that had this stack; only if asked for
  std::vector<std::string> backtrace;     // of a parked one, innermost first; only if asked for
};

struct StackReport {
  std::uint64_t stack_bytes = 0;
  std::uint64_t made = 0;  // in use or not
  std::uint64_t in_use = 0;
  std::uint64_t deepest_bytes = 0;  // as in FiberReport
};

// Values are upper ends of buckets an eighth wide at most.
struct LatencyReport {
  std::uint64_t count = 0;
  std::uint64_t mean_ns = 0, p50_ns = 0, p90_ns = 0, p99_ns = 0, p999_ns = 0, most_ns = 0;
};

// What costs more than the rest.
struct ReportOptions {
  bool backtraces = false;
  bool stack_depths = false;  // asks the kernel which pages have memory
};

// A scheduling group with a fiber that is ready or runs.
struct GroupReport {
  std::string name;  // "ordinary": of all fibers for which nothing was said, once there is another
  std::uint64_t shares = 0;
  std::uint64_t active = 0;     // fibers that are ready or run; of the ordinary ones: workers that have some
  std::uint64_t queued = 0;     // those of them that are ready; ordinary ones are in the workers' counts
  std::int64_t virtual_ns = 0;  // CPU time over shares, by those of 100: who has the least is next
};

struct RuntimeReport {
  std::string name;
  std::vector<WorkerCounters> workers;
  std::vector<GroupReport> groups;
  std::uint64_t high_queued = 0;  // ready fibers of the high class, and of the idle one
  std::uint64_t idle_queued = 0;
  std::vector<FiberReport> fibers;  // by id
  std::uint64_t stacks = 0;         // that exist, in use or not
  std::vector<StackReport> stack_sizes;
  LatencyReport ready_to_running;  // empty without Runtime::Options::measure_latencies
  LatencyReport slices;            // how long fibers ran without a switch

  // All fibers are parked, and for each other: nothing that completes by itself (timer, deadline, I/O, offload) is waited for. A
  // guess where plain threads take part.
  [[nodiscard]] bool looks_deadlocked() const noexcept;
};

// For people, one line a fiber and its backtrace below.
std::string to_text(const RuntimeReport& report);
// One object; members are named as the fields are. What is empty or unknown is left out.
std::string to_json(const RuntimeReport& report);

// The reports of all runtimes of this process, as text.
std::string report_all(const ReportOptions& options);

// While it lives, the signal makes a thread of its own write report_all(), with backtraces, to standard error or to the end
// of a file. The signal's handler before is put back at its end. Not two for one signal.
class DumpOnSignal {
 public:
  explicit DumpOnSignal(int signal, std::string path = {});
  ~DumpOnSignal();
  DumpOnSignal(const DumpOnSignal&) = delete;
  DumpOnSignal& operator=(const DumpOnSignal&) = delete;

  // kBusy: the signal has one already; kIo, kTooManyFiles: no descriptor for it; kAgain: no thread.
  [[nodiscard]] const Status& status() const noexcept { return status_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  Status status_;
};

}  // namespace weft::sched
