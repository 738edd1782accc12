// seeded.h - random numbers that a seed repeats, for programs of the end-to-end tests (splitmix64, Steele and others 2014).
#pragma once

#include <cstdint>

inline std::uint64_t mix(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15ULL;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

struct Random {
  std::uint64_t state;
  std::uint64_t next() { return state = mix(state); }
  std::uint32_t below(std::uint64_t bound) { return static_cast<std::uint32_t>(next() % bound); }
};
