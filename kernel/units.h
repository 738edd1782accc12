// kernel/units.h - sizes, and rounding them.
#pragma once

#include <cstdint>

namespace weft {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;
inline constexpr std::uint64_t kTiB = 1024 * kGiB;

// `unit` is a power of two.
constexpr std::uint64_t round_down(std::uint64_t value, std::uint64_t unit) noexcept { return value & ~(unit - 1); }
constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return round_down(value + unit - 1, unit);
}
constexpr std::uint64_t divide_up(std::uint64_t value, std::uint64_t unit) noexcept {
  return value / unit + (value % unit != 0);
}

}  // namespace weft
