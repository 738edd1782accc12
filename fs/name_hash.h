// fs/name_hash.h - where a name stands in its directory: SipHash-2-4 keyed with the volume's hash_seed.
//
// Keyed, so that nobody can prepare names that collide. Source: Aumasson and Bernstein, "SipHash: a fast short-input
// PRF" (2012). Thread-safe, never parks. Tests: tests/fs/name_hash_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weft::fs {

class NameHash {
 public:
  explicit NameHash(std::span<const std::uint8_t, 16> seed) noexcept;

  [[nodiscard]] std::uint64_t hash(std::string_view name) const noexcept;
  [[nodiscard]] std::uint64_t dirent_hash(std::string_view name) const noexcept { return hash(name) >> 16; }  // 48 bits
  [[nodiscard]] std::uint64_t xattr_hash(std::string_view name) const noexcept { return hash(name) >> 24; }   // 40 bits

 private:
  std::uint64_t key0_;
  std::uint64_t key1_;
};

}  // namespace weft::fs
