#include "sched/ticks.h"

#include <atomic>

namespace weft::sched {
namespace {

constexpr std::uint64_t kFirstGuess = 1000;         // of ticks in a microsecond
constexpr std::int64_t kLongEnoughNs = 20'000'000;  // between two looks at both clocks

// Once two looks at both clocks are far enough apart, the rate is what it is.
std::atomic<std::uint64_t> first_ticks{0};
std::atomic<std::int64_t> first_ns{0};  // 0: no look yet; written after first_ticks
std::atomic<std::uint64_t> rate{0};     // ticks in a microsecond; 0: not known

std::int64_t clock_ns() noexcept {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1'000'000'000 + at.tv_nsec;
}

std::uint64_t learn() noexcept {
  const std::int64_t now_ns = clock_ns();
  const std::uint64_t ticks = read_ticks();
  const std::int64_t since_ns = first_ns.load(std::memory_order_acquire);
  if (since_ns == 0) {
    std::uint64_t none = 0;
    if (first_ticks.compare_exchange_strong(none, ticks)) first_ns.store(now_ns, std::memory_order_release);
    return kFirstGuess;
  }
  if (now_ns - since_ns < 1'000'000) return kFirstGuess;
  const std::uint64_t went = ticks - first_ticks.load(std::memory_order_relaxed);
  const std::uint64_t found = went / static_cast<std::uint64_t>((now_ns - since_ns) / 1000);
  if (found == 0) return 1;
  if (now_ns - since_ns >= kLongEnoughNs) rate.store(found, std::memory_order_relaxed);
  return found;
}

}  // namespace

std::uint64_t ticks_in(std::chrono::microseconds time) noexcept {
  std::uint64_t in_a_microsecond = rate.load(std::memory_order_relaxed);
  if (in_a_microsecond == 0) [[unlikely]]
    in_a_microsecond = learn();
  return static_cast<std::uint64_t>(time.count()) * in_a_microsecond;
}

}  // namespace weft::sched
