// sched/hog.h - a fiber that keeps its worker for long while others wait: which, for how long, and where it is.
//
//   Runtime::Options{.hog_limit = 1s, .on_hog = [](const HogReport& hog) { log(to_text(hog)); }}
//
// Others are not kept from running by it where there is another worker (what waits behind it is taken over); yet latency is lost,
// and with one worker, or pinned fibers, all of it. The cure is sched::checkpoint() in the loop, or sched::blocking().
// Tests: tests/sched/hog_test.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace weft::sched {

struct HogReport {
  std::string fiber;  // its name
  std::uint64_t id = 0;
  unsigned worker = 0;
  std::chrono::nanoseconds held{};  // that its worker has not switched
  bool computes = true;  // false: it uses no CPU: it blocks in a system call, or the system does not let it run
  std::vector<std::string> backtrace;  // innermost first; empty if it blocks, or could not be asked
  std::uint64_t kept_back = 0;         // reports since the last that were one too many
};

// One line, for people.
std::string to_text(const HogReport& report);

// Called on a thread of the runtime's that watches the workers; should not block for long. Must not throw.
using HogHandler = std::function<void(const HogReport&)>;

}  // namespace weft::sched
