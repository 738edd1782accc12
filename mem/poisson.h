// mem/poisson.h - which bytes are sampled: one in `mean`, each with the same chance and apart from all others. Internal.
//
// The distance to the next one is exponential, so a block of n bytes is hit with the chance 1 - exp(-n/mean), whatever came before, and
// one that was hit stands for the inverse of that many. Without the mathematical library, which not every program has loaded.
// Tests: tests/mem/poisson_test.cc.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace weft::mem {

// xorshift64*, after Marsaglia and Vigna. `seed`: not 0.
class SampleRandom {
 public:
  explicit constexpr SampleRandom(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t next() noexcept {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1d;
  }

 private:
  std::uint64_t state_;
};

// -ln(u) for u = (bits + 1) / 2^64. Relative error below 1e-9.
inline double negative_log(std::uint64_t bits) noexcept {
  constexpr double kLn2 = 0.693147180559945309417;
  if (bits == UINT64_MAX) return 0;
  ++bits;
  const int exponent = 63 - std::countl_zero(bits);
  const double mantissa = static_cast<double>(bits << (63 - exponent)) * 0x1p-63;  // 1 .. 2
  // ln m = 2 artanh((m - 1) / (m + 1)), of at most a third.
  const double t = (mantissa - 1) / (mantissa + 1);
  double sum = 0;
  for (int n = 17; n >= 1; n -= 2) sum = sum * t * t + 1.0 / n;
  return kLn2 * (64 - exponent) - 2 * t * sum;
}

// Bytes to the next sampled one.
inline std::uint64_t distance(SampleRandom& random, std::size_t mean) noexcept {
  // Beyond 2^60 nobody gets.
  return static_cast<std::uint64_t>(std::min(negative_log(random.next()) * static_cast<double>(mean), 0x1p60));
}

// How many blocks of `bytes` (a mean) each that was hit stands for: 1 / (1 - exp(-bytes/mean)).
inline double stands_for(double bytes, std::size_t mean) noexcept {
  const double x = bytes / static_cast<double>(mean);
  if (mean <= 1 || x > 40) return 1;
  // exp(-x) - 1 = (exp(-x/1024) - 1 + 1)^1024 - 1, squared ten times without losing what is small.
  const double y = -x / 1024;
  double less = y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4)));
  for (int i = 0; i < 10; ++i) less = less * (2 + less);
  return -1 / less;
}

}  // namespace weft::mem
