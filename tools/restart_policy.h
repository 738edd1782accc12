// tools/restart_policy.h - whether a server that has died gets a successor, and when.
//
// A server that somebody kills is replaced as often as that happens. One that dies again and again by itself would do so for ever
// (a request that it cannot bear is sent to each successor anew; an image that is gone stays gone), and then an error is better than
// a mount that hangs. So a death counts if the server had not begun to serve, or if it fell by its own fault within kYoung, and
// for several if it had to be killed because it hung, which takes minutes to find out. After kMostDeaths in a row there is no
// successor. The pauses between them grow, so that what passes by itself has some seconds to do so.
//
// Pure. Tests: tests/tools/restart_policy_test.cc
#pragma once

#include <chrono>
#include <optional>

namespace weft::tools {

class RestartPolicy {
 public:
  static constexpr unsigned kMostDeaths = 10;
  static constexpr unsigned kHungCounts = 5;
  static constexpr std::chrono::seconds kYoung{10};
  static constexpr std::chrono::milliseconds kFirstPause{50};
  static constexpr std::chrono::milliseconds kLongestPause{1000};

  struct Death {
    bool served = false;  // before it died
    bool hung = false;    // and ended for that
    bool killed = false;  // by SIGKILL: by an administrator, or for want of memory
    std::chrono::milliseconds age{0};
  };
  // How long to wait before the next; nothing: give up.
  std::optional<std::chrono::milliseconds> after(const Death& death) noexcept {
    if (death.served && !death.hung && (death.killed || death.age >= kYoung)) {
      deaths_ = 0;
      return std::chrono::milliseconds(0);
    }
    deaths_ += death.hung ? kHungCounts : 1;
    if (deaths_ >= kMostDeaths) return std::nullopt;
    std::chrono::milliseconds pause = kFirstPause;
    for (unsigned i = 1; i < deaths_ && pause < kLongestPause; ++i) pause *= 2;
    return pause < kLongestPause ? pause : kLongestPause;
  }

 private:
  unsigned deaths_ = 0;  // in a row that count
};

}  // namespace weft::tools
