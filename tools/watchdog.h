// tools/watchdog.h - notices that a server no longer gets on, so that nobody waits for it for ever.
//
//   server: beats (heart.h) -> [watchdog: Pulse] -> the supervisor, or a thread of the server's own process
//
// The beats stop when fibers no longer run. A request that hangs while others go on is noticed by the server itself
// (fs/fuse/request_ages.h). Both matter to the whole machine: sync(2) waits for every mounted file system.
//
// Pulse is pure. Watchdog has a thread of its own, since what it watches is whether fibers run.
// Tests: tests/tools/watchdog_test.cc, tests/e2e/supervise.sh
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

namespace weft::tools {

class Pulse {
 public:
  using Time = std::chrono::steady_clock::time_point;
  Pulse(std::chrono::milliseconds limit, Time now) : limit_(limit), last_change_(now) {}
  // False: there has been no beat for the limit. Never so without a limit (0).
  bool alive(std::uint64_t beats, Time now) noexcept {
    if (beats != last_beats_) {
      last_beats_ = beats;
      last_change_ = now;
    }
    return limit_.count() == 0 || now - last_change_ < limit_;
  }

 private:
  std::chrono::milliseconds limit_;
  Time last_change_;
  std::uint64_t last_beats_ = 0;
};

class Watchdog {
 public:
  // Calls `bark` once, from its thread, if `beats` stand still for `limit`; 0: never.
  Watchdog(std::chrono::milliseconds limit, const std::atomic<std::uint64_t>& beats, std::function<void()> bark);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  void watch();

  const std::chrono::milliseconds limit_;
  const std::atomic<std::uint64_t>& beats_;
  const std::function<void()> bark_;
  std::mutex lock_;  // guards stop_
  std::condition_variable stopped_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace weft::tools
