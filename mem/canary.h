// mem/canary.h - bytes behind the end of a block, and in a free one, by which the hardened mode sees that somebody wrote where nothing is theirs.
// Internal.
//
//     large, in use:  | `size` bytes                         | canary: 16 bytes | anything | zeros |    slack: all after the size, at least 16
//     any, free:      | zeros: 64 | anything | zeros: 16     |
//
// The canary is a random number of the process, none of its bytes zero (the end of a text written one too far is the most frequent
// overflow). More zeros would be safer, and would bring lines into the cache that the program never asks for.
// Tests: tests/mem/canary_test.cc, tests/mem/hardened_test.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weft::mem::canary {

inline constexpr std::size_t kBytes = 16;

// The canary and as many zeros: 16 bytes from some place on are what the end of a block looks like. Set before the first block.
[[gnu::visibility("hidden")]] extern constinit std::array<std::uint64_t, 4> pattern;

namespace detail {
using Pair = std::uint64_t __attribute__((vector_size(16)));

inline Pair load(const void* at) noexcept {
  Pair pair;
  std::memcpy(&pair, at, sizeof pair);
  return pair;
}
inline void store(void* at, Pair pair) noexcept { std::memcpy(at, &pair, sizeof pair); }
inline bool is_zero(Pair pair) noexcept { return (pair[0] | pair[1]) == 0; }
inline Pair end_with(std::size_t slack) noexcept {
  return load(reinterpret_cast<const std::byte*>(pattern.data()) + std::min(slack - kBytes, kBytes));
}
}  // namespace detail

// `end`: of the block. Whatever is there.
inline void write(std::byte* end, std::size_t slack) noexcept {
  detail::store(end - kBytes, detail::Pair{});
  detail::store(end - slack, detail::load(pattern.data()));
}
inline bool holds(const std::byte* end, std::size_t slack) noexcept {
  return detail::is_zero((detail::load(end - slack) ^ detail::load(pattern.data())) |
                         (detail::load(end - kBytes) ^ detail::end_with(slack)));
}
// So that nobody finds it in a block in use.
inline void erase(std::byte* end, std::size_t slack) noexcept { detail::store(end - slack, detail::Pair{}); }

// Clears what is looked at. size >= 16. (No branch on the size: with blocks of many sizes a wrong guess costs more than all of it.)
[[gnu::always_inline]] inline void clear(std::byte* block, std::size_t size) noexcept {
  const std::size_t last = size - kBytes;
  detail::store(block, detail::Pair{});
  for (std::size_t at = kBytes; at < 4 * kBytes; at += kBytes)
    detail::store(block + std::min(at, last), detail::Pair{});
  detail::store(block + last, detail::Pair{});
}
[[gnu::always_inline]] inline bool is_clear(const std::byte* block, std::size_t size) noexcept {
  const std::size_t last = size - kBytes;
  detail::Pair wrong = detail::load(block) | detail::load(block + last);
  for (std::size_t at = kBytes; at < 4 * kBytes; at += kBytes) wrong |= detail::load(block + std::min(at, last));
  return detail::is_zero(wrong);
}

}  // namespace weft::mem::canary
