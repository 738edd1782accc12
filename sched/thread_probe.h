// sched/thread_probe.h - asks a worker's thread, in the midst of what it does, which fiber it runs and where. Internal to sched/.
//
//   watchdog: probe_thread() -> signal -> [handler on the worker's thread: walks its own stack] -> answer
//
// The signal is SIGURG, as Go's runtime uses it: its default is to be ignored, so one that comes late does no harm, and debuggers
// pass it on. If the program has a handler of its own for it, that stays, and nobody is probed. The first probe installs the
// handler, for good. SA_RESTART: a system call that the signal meets goes on, but for those that never do (poll, nanosleep and
// the like end with EINTR), so who blocks should not be probed.
//
// Invariants   P1  the handler writes an answer only if it is asked for, and of its own thread
//              P2  what it does is async-signal-safe
// Thread-safe: one probe at a time. Blocks the calling thread for kPatience at most. Tests: tests/sched/hog_test.cc.
#pragma once

#include <pthread.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace weft::sched {

struct ThreadProbe {
  static constexpr auto kPatience = std::chrono::milliseconds(100);

  bool answered = false;
  std::uint64_t fiber_id = 0;  // 0: it runs none
  std::array<char, 32> fiber_name{};
  std::array<const void*, 32> places{};  // innermost first
  std::size_t place_count = 0;
};

ThreadProbe probe_thread(pthread_t thread);

}  // namespace weft::sched
