// sched/checkpoint.h - when the running fiber has had its slice, and when its worker should look at I/O and timers. Internal to sched/.
//
//   checkpoint() in a user's loop, spend_budget() in calls of ours that may succeed for ever without parking -> [slice] -> yield
//
// A dispatch reads no clock, so the slice of a fiber begins with the first question after it was switched to.
// The worker's own thread only. Tests: tests/sched/checkpoint_test.cc.
#pragma once

#include <chrono>
#include <cstdint>

#include "sched/ticks.h"

namespace weft::sched {

class Slice {
 public:
  static constexpr auto kLength = std::chrono::microseconds(500);
  static constexpr auto kBetweenLooks = std::chrono::microseconds(200);
  static constexpr std::uint32_t kOperationsPerCheckpoint = 128;

  enum class Due : std::uint8_t { kNothing, kLook, kYield };
  // `switches`: the worker's count. kLook is said once in kBetweenLooks, kYield when the slice is over.
  Due ask(std::uint64_t ticks, std::uint64_t switches) noexcept {
    if (switches == switches_ && ticks - asked_ < quiet_) return Due::kNothing;
    return ask_slowly(ticks, switches);
  }
  bool spend() noexcept {
    if (--budget_ != 0) return false;
    budget_ = kOperationsPerCheckpoint;
    return true;
  }

 private:
  Due ask_slowly(std::uint64_t ticks, std::uint64_t switches) noexcept;

  std::uint64_t switches_ = 0;
  std::uint64_t began_ = 0;
  std::uint64_t looked_ = 0;
  std::uint64_t asked_ = 0;
  std::uint64_t quiet_ = 0;  // for so long after asked_ nothing is due
  std::uint32_t budget_ = kOperationsPerCheckpoint;
};

}  // namespace weft::sched
