// tools/heart.h - beats while a server's fibers run, and notices a request of its own that hangs.
//
//   [heart: a fiber] -> beats -> watchdog.h, in the supervisor or on a thread
//                    -> RequestAges of session and device -> give_up()
//
// Beats eight times within the limit, so a stray delay is not taken for death. Parks at its end, until the fiber has ended.
// Tests: tests/tools/heart_test.cc
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>

#include "fs/fuse/request_ages.h"
#include "sched/spawn.h"

namespace weft::tools {

class Heart {
 public:
  // `give_up` is called from the fiber when a request has been under way for `limit`, of which 0 is never.
  Heart(std::atomic<std::uint64_t>& beats, std::chrono::milliseconds limit, std::function<void()> give_up);
  ~Heart();
  Heart(const Heart&) = delete;
  Heart& operator=(const Heart&) = delete;

  static constexpr std::size_t kMostWatched = 2;
  // From now on; they have to outlive it. As often as kMostWatched.
  void watch(fs::fuse::RequestAges& ages) noexcept { ages_.at(watched_++).store(&ages); }

 private:
  const std::function<void()> give_up_;
  std::array<std::atomic<fs::fuse::RequestAges*>, kMostWatched> ages_{};
  std::size_t watched_ = 0;
  sched::Fiber fiber_;
};

}  // namespace weft::tools
