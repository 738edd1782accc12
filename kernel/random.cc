#include "kernel/random.h"

#include <sys/random.h>

#include <bit>
#include <cerrno>
#include <cstring>

#include "kernel/check.h"

namespace weft {
namespace {

class SystemEntropy final : public Entropy {
 public:
  void fill(std::span<std::byte> into) noexcept override {
    while (!into.empty()) {
      const ssize_t got = getrandom(into.data(), into.size(), 0);
      if (got < 0) {
        // Nothing may go on with predictable keys or ids.
        WEFT_CHECK(errno == EINTR);
        continue;
      }
      into = into.subspan(static_cast<std::size_t>(got));
    }
  }
};

std::uint64_t split_mix(std::uint64_t& state) noexcept {
  state += 0x9e3779b97f4a7c15ULL;
  std::uint64_t mixed = state;
  mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebULL;
  return mixed ^ (mixed >> 31);
}

}  // namespace

std::uint64_t Entropy::next() noexcept {
  std::uint64_t value = 0;
  fill({reinterpret_cast<std::byte*>(&value), sizeof value});
  return value;
}

Entropy& system_entropy() noexcept {
  static SystemEntropy entropy;
  return entropy;
}

Random::Random(std::uint64_t seed) noexcept {
  for (auto& word : state_) word = split_mix(seed);
}

std::uint64_t Random::next() noexcept {
  const std::uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
  const std::uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

std::uint64_t Random::below(std::uint64_t bound) noexcept {
  WEFT_DEBUG_CHECK(bound > 0);
  using Wide = unsigned __int128;
  Wide product = static_cast<Wide>(next()) * bound;
  auto low = static_cast<std::uint64_t>(product);
  if (low < bound) {
    const std::uint64_t threshold = (0 - bound) % bound;
    while (low < threshold) {
      product = static_cast<Wide>(next()) * bound;
      low = static_cast<std::uint64_t>(product);
    }
  }
  return static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t Random::between(std::uint64_t low, std::uint64_t high) noexcept {
  WEFT_DEBUG_CHECK(low <= high);
  const std::uint64_t span = high - low + 1;
  return span == 0 ? next() : low + below(span);
}

void Random::fill(std::span<std::byte> into) noexcept {
  while (!into.empty()) {
    const std::uint64_t word = next();
    const std::size_t step = into.size() < sizeof word ? into.size() : sizeof word;
    std::memcpy(into.data(), &word, step);
    into = into.subspan(step);
  }
}

void SeededEntropy::fill(std::span<std::byte> into) noexcept {
  const std::lock_guard lock(mutex_);
  random_.fill(into);
}

}  // namespace weft
