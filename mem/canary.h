// mem/canary.h - bytes in and behind a block by which the hardened mode sees that somebody wrote where nothing is theirs. Internal.
//
//     in use:  | `size` bytes                         | canary: 16 bytes | anything | zeros |     slack: all after the size, at least 16
//     free:    | zeros: 64 | anything | zeros: 16     | canary           | anything | zeros |     size: as it was, but at least 16
//
// The canary is a random number of the process, none of its bytes zero (the end of a text written one too far is the most frequent
// overflow). Whoever runs over the end comes past it; whoever writes before the next block meets the last 16 bytes, or what the
// canary leaves of them. More zeros would be safer, and would bring lines into the cache that the program never asks for.
// A block that is freed is written to and not read, so that nobody waits for its lines; it is looked at, once for both kinds of
// error, when it leaves its quarantine. Nothing here branches on the size: with blocks of many sizes a wrong guess costs more
// than all of it.
// Tests: tests/mem/canary_test.cc, tests/mem/hardened_test.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace weft::mem::canary {

inline constexpr std::size_t kBytes = 16;
// Of a block for which all of this is possible; of its size and of its slack 16.
inline constexpr std::size_t kLeastBlock = 2 * kBytes;

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
// Zero where the canary and the end of the block are as they should be.
inline Pair wrong_at_end(const std::byte* end, std::size_t slack) noexcept {
  return (load(end - slack) ^ load(pattern.data())) | (load(end - kBytes) ^ end_with(slack));
}
}  // namespace detail

// `end`: of the block. Whatever is there.
[[gnu::always_inline]] inline void write(std::byte* end, std::size_t slack) noexcept {
  detail::store(end - kBytes, detail::Pair{});
  detail::store(end - slack, detail::load(pattern.data()));
}
[[gnu::always_inline]] inline bool holds(const std::byte* end, std::size_t slack) noexcept {
  return detail::is_zero(detail::wrong_at_end(end, slack));
}
// So that nobody finds it in a block in use.
[[gnu::always_inline]] inline void erase(std::byte* end, std::size_t slack) noexcept {
  detail::store(end - slack, detail::Pair{});
}

// Makes a block in use a free one. size >= 16.
[[gnu::always_inline]] inline void retire(std::byte* block, std::size_t size) noexcept {
  const std::size_t last = size - kBytes;
  detail::store(block, detail::Pair{});
  for (std::size_t at = kBytes; at < 4 * kBytes; at += kBytes)
    detail::store(block + std::min(at, last), detail::Pair{});
  detail::store(block + last, detail::Pair{});
}
// Whether a free block is as it was left.
[[gnu::always_inline]] inline bool is_untouched(const std::byte* block, std::size_t bytes, std::size_t slack) noexcept {
  const std::size_t last = bytes - slack - kBytes;
  detail::Pair wrong = detail::wrong_at_end(block + bytes, slack);
  wrong |= detail::load(block);
  for (std::size_t at = kBytes; at < 4 * kBytes; at += kBytes) wrong |= detail::load(block + std::min(at, last));
  return detail::is_zero(wrong);
}
// Makes any memory a free block with the least slack.
inline void make_free(std::byte* block, std::size_t bytes) noexcept {
  retire(block, bytes - kBytes);
  write(block + bytes, kBytes);
}

}  // namespace weft::mem::canary
