// sched/ticks.h - a counter of time that costs some nanoseconds to read, for looks at the clock that are made often. Internal to sched/.
//
// The CPU's time stamp counter where there is one, else CLOCK_MONOTONIC. Its rate is learnt by and by: until a millisecond has
// gone by it is taken for 1 GHz, which is slow, so that what should happen after a while happens sooner. Differences of
// counters of two CPUs may be off; nothing but promptness hangs on them. Thread-safe. Tests: tests/sched/checkpoint_test.cc.
#pragma once

#include <time.h>

#include <chrono>
#include <cstdint>

namespace weft::sched {

inline std::uint64_t read_ticks() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  return __builtin_ia32_rdtsc();
#elif defined(__aarch64__)
  std::uint64_t ticks = 0;
  asm volatile("mrs %0, cntvct_el0" : "=r"(ticks));
  return ticks;
#else
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return static_cast<std::uint64_t>(at.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(at.tv_nsec);
#endif
}

std::uint64_t ticks_in(std::chrono::microseconds time) noexcept;

}  // namespace weft::sched
