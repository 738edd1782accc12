#include "fs/name_hash.h"

#include <bit>
#include <cstring>

#include "kernel/bytes.h"

namespace weft::fs {
namespace {

std::uint64_t load64(const void* from) noexcept {
  le64 value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

struct State {
  std::uint64_t v0, v1, v2, v3;

  void round() noexcept {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void take(std::uint64_t word) noexcept {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

}  // namespace

NameHash::NameHash(std::span<const std::uint8_t, 16> seed) noexcept
    : key0_(load64(seed.data())), key1_(load64(seed.data() + 8)) {}

std::uint64_t NameHash::hash(std::string_view name) const noexcept {
  State state{key0_ ^ 0x736f6d6570736575, key1_ ^ 0x646f72616e646f6d, key0_ ^ 0x6c7967656e657261,
              key1_ ^ 0x7465646279746573};
  const char* at = name.data();
  std::size_t left = name.size();
  for (; left >= 8; at += 8, left -= 8) state.take(load64(at));
  unsigned char last[8] = {};
  if (left > 0) std::memcpy(last, at, left);
  last[7] = static_cast<unsigned char>(name.size());
  state.take(load64(last));
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) state.round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

}  // namespace weft::fs
