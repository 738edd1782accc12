// kernel/random.h - randomness as something handed in: the system's for keys and ids, a seeded one for everything that
// must replay.
//
// Entropy and system_entropy() are thread- and fiber-safe; a Random is one owner's. Nothing here parks.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

namespace weft {

class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void fill(std::span<std::byte> into) noexcept = 0;
  [[nodiscard]] std::uint64_t next() noexcept;
};

// getrandom(2): fit for keys. Lives for ever. Ends the process should the kernel have none to give.
Entropy& system_entropy() noexcept;

// xoshiro256** 1.0 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018), seeded by SplitMix64.
// Fast and statistically sound, and fully predictable: for tests, simulation, sampling and jitter, never for secrets. The
// same seed gives the same numbers on every machine and in every release. Fits the standard's URBG requirements.
class Random {
 public:
  using result_type = std::uint64_t;
  explicit Random(std::uint64_t seed) noexcept;

  std::uint64_t next() noexcept;
  std::uint64_t operator()() noexcept { return next(); }
  static constexpr std::uint64_t min() noexcept { return 0; }
  static constexpr std::uint64_t max() noexcept { return ~0ULL; }

  // Uniform in [0, bound), without bias (Lemire, "Fast random integer generation in an interval", 2019). bound > 0.
  std::uint64_t below(std::uint64_t bound) noexcept;
  // Uniform in [low, high].
  std::uint64_t between(std::uint64_t low, std::uint64_t high) noexcept;
  // True once in `n` on average; n > 0.
  bool one_in(std::uint64_t n) noexcept { return below(n) == 0; }
  // Uniform in [0, 1).
  double fraction() noexcept { return static_cast<double>(next() >> 11) * 0x1.0p-53; }
  void fill(std::span<std::byte> into) noexcept;
  // Another stream, independent of what this one goes on to give.
  Random split() noexcept { return Random(next()); }

 private:
  std::array<std::uint64_t, 4> state_;
};

// A seeded Entropy for simulations.
class SeededEntropy final : public Entropy {
 public:
  explicit SeededEntropy(std::uint64_t seed) noexcept : random_(seed) {}
  void fill(std::span<std::byte> into) noexcept override;

 private:
  std::mutex mutex_;
  Random random_;
};

}  // namespace weft
