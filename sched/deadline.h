// sched/deadline.h - the moment at which a blocking call gives up.
//
// A point on the scheduler's monotonic clock: CLOCK_MONOTONIC, or virtual time on a fiber of a Simulation. Deadlines
// add up where timeouts do not: a function takes one and hands the same one to each call it makes. A value.
#pragma once

#include <chrono>
#include <cstdint>
#include <limits>

namespace weft::sched {

// Now, as the calling fiber or thread sees it. Does not park.
std::chrono::nanoseconds now() noexcept;

class Deadline {
 public:
  // Never passes.
  constexpr Deadline() noexcept = default;
  constexpr explicit Deadline(std::chrono::nanoseconds at) noexcept : at_ns_(at.count()) {}
  static constexpr Deadline never() noexcept { return {}; }
  // A timeout too long to add up is for ever; one below zero has passed already.
  static Deadline after(std::chrono::nanoseconds timeout) noexcept {
    const std::int64_t base = now().count();
    if (timeout.count() > kNever - base) return never();
    return Deadline(std::chrono::nanoseconds(base + timeout.count()));
  }

  [[nodiscard]] constexpr bool is_never() const noexcept { return at_ns_ == kNever; }
  [[nodiscard]] constexpr std::chrono::nanoseconds at() const noexcept { return std::chrono::nanoseconds(at_ns_); }
  [[nodiscard]] bool passed() const noexcept { return !is_never() && now().count() >= at_ns_; }
  constexpr auto operator<=>(const Deadline&) const noexcept = default;

 private:
  static constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
  std::int64_t at_ns_ = kNever;
};

}  // namespace weft::sched
