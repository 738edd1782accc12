// sched/inspect.h - what a runtime is doing: its fibers, what each waits for, and its workers' counters.
//
//   std::fputs(sched::to_text(runtime.report()).c_str(), stderr);
//
// A snapshot taken while all runs on: each line is true by itself, the whole is not one moment. Thread- and fiber-safe.
// Tests: tests/sched/inspect_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::sched {

// Whether "weft: fiber NAME overflowed its N KiB stack" is said, with where it was, before the fault ends the process. Of
// every other fault nothing is changed.
enum class OverflowReport : std::uint8_t {
  kOff,
  kUnlessHandled,  // not where the program has a handler of its own for SIGSEGV or SIGBUS when the runtime begins
  kAlways,         // and then goes on to the program's handler
};

struct WorkerCounters {
  std::uint64_t switches = 0;  // to a fiber
  std::uint64_t parks = 0;     // fibers that began to wait
  std::uint64_t spawned = 0;
  std::uint64_t steals = 0;      // times it took fibers from another worker
  std::uint64_t sleeps = 0;      // of the thread, in the kernel
  std::uint64_t wakes_sent = 0;  // to sleeping workers
  bool asleep = false;
};

struct FiberReport {
  std::uint64_t id = 0;
  std::string name;
  std::string state;        // "queued", "running", "parked", "ended"
  std::string wait_reason;  // of a parked one: "mutex", "sleep", "io" ...
  int pinned_to = -1;
};

struct RuntimeReport {
  std::string name;
  std::vector<WorkerCounters> workers;
  std::vector<FiberReport> fibers;  // by id
  std::uint64_t stacks = 0;         // that exist, in use or not

  // All fibers are parked, and for each other: nothing that completes by itself (timer, I/O, offload) is waited for. A guess
  // where plain threads take part.
  [[nodiscard]] bool looks_deadlocked() const noexcept;
};

// For people, one line a fiber.
std::string to_text(const RuntimeReport& report);

}  // namespace weft::sched
