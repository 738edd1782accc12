// kernel/clock.h - time as something handed in, so that tests and the simulator can own it.
//
// Thread- and fiber-safe. Neither call parks.
#pragma once

#include <chrono>
#include <cstdint>

namespace weft {

// A point of wall-clock time as file systems store it.
struct Timespec {
  std::int64_t seconds = 0;       // since 1970-01-01 UTC, may be negative
  std::uint32_t nanoseconds = 0;  // below 1,000,000,000
  auto operator<=>(const Timespec&) const noexcept = default;
};

class Clock {
 public:
  virtual ~Clock() = default;
  // Never goes back; its zero means nothing.
  [[nodiscard]] virtual std::chrono::nanoseconds monotonic() const noexcept = 0;
  [[nodiscard]] virtual Timespec wall() const noexcept = 0;
};

// The machine's own (CLOCK_MONOTONIC, CLOCK_REALTIME). Lives for ever.
Clock& system_clock() noexcept;

}  // namespace weft
