// mem/marked_block.h - what the hardened mode writes before, into and behind a small block. Internal.
//
//                             block
//     plain:          | mark: 8 | bytes - 8 of the program's                           | mark of the next
//     sized:  size: 8 | mark: 8 | `size` bytes | canary: 16 | anything          size and mark of the next
//
// A mark stands before a block. That of one in use is a random number of the process and the block's address. It is three things in one: a
// canary, for who writes before the block or beyond the end of the one before; the state, as that of a free block is another; and a sign
// that a block begins here, since before an address inside a block something else stands. It lies there because free() has that line of
// the cache in hand anyway: looking at the end of a block, or into a table of states, took half of the time where many blocks live.
//
// Plain blocks are those that malloc takes from a list by its fast path, which does not know that the mode is on, and so writes nothing: how
// many bytes were asked for is not known, and who writes beyond them reaches nobody before the next mark. It is looked at when the next
// block is freed. Of a sized block each byte behind the end is looked at, and when it is freed itself.
// A free block is zero where it begins, 16 bytes or 8 of 16; a sized one also where it ends, and `full` as canary.h says.
// An aligned block lies inside a larger one: its mark is the opposite, and the larger one's is that of a free block.
// Tests: tests/mem/marked_block_test.cc, tests/mem/hardened_test.cc.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "mem/canary.h"
#include "mem/size_class.h"

namespace weft::mem::marked {

inline constexpr std::size_t kMarkBytes = 8;
// Before a sized block, and before the first of any slab.
inline constexpr std::size_t kHeaderBytes = 16;

// Of sizes that malloc looks up in its table, all but the last few have room for a mark in the classes of the table.
inline constexpr std::size_t kMaxPlain = kTableMax - kMarkBytes;
inline constexpr unsigned kLeastClass = class_of(1 + kMarkBytes);
inline constexpr unsigned kPlainEnd = class_of(kTableMax) + 1;
// What a sized block needs beyond what is asked for.
inline constexpr std::size_t kSizedMore = canary::kBytes + kHeaderBytes;

constexpr std::size_t plain_room(unsigned size_class) noexcept { return kClassBytes[size_class] - kMarkBytes; }
constexpr std::size_t sized_room(unsigned size_class) noexcept { return kClassBytes[size_class] - kSizedMore; }

namespace detail {
// Atomic, because a mark belongs to one block and the bytes it lies in to another.
inline std::uint64_t word(const std::byte* at) noexcept {
  return __atomic_load_n(reinterpret_cast<const std::uint64_t*>(at), __ATOMIC_RELAXED);
}
inline void set_word(std::byte* at, std::uint64_t word) noexcept {
  __atomic_store_n(reinterpret_cast<std::uint64_t*>(at), word, __ATOMIC_RELAXED);
}
inline std::uint64_t mark_of(const std::byte* block) noexcept {
  return canary::pattern[1] ^ reinterpret_cast<std::uintptr_t>(block);
}
inline std::uint64_t free_mark() noexcept { return canary::pattern[0]; }
inline std::uint64_t mark_at(const std::byte* block) noexcept { return word(block - kMarkBytes); }
inline void set_mark(std::byte* block, std::uint64_t mark) noexcept { set_word(block - kMarkBytes, mark); }
}  // namespace detail

inline bool is_in_use(const std::byte* block) noexcept { return detail::mark_at(block) == detail::mark_of(block); }
inline bool is_free(const std::byte* block) noexcept { return detail::mark_at(block) == detail::free_mark(); }
inline bool is_aligned(const std::byte* block) noexcept { return detail::mark_at(block) == ~detail::mark_of(block); }
// Of any kind: what stands behind the last byte of the block before. Read once, as it may be another thread's that changes it.
inline bool is_mark(const std::byte* block) noexcept {
  const std::uint64_t mark = detail::mark_at(block);
  return mark == detail::mark_of(block) || mark == detail::free_mark() || mark == ~detail::mark_of(block);
}
inline void set_in_use(std::byte* block) noexcept { detail::set_mark(block, detail::mark_of(block)); }
inline void set_free(std::byte* block) noexcept { detail::set_mark(block, detail::free_mark()); }
inline void set_aligned(std::byte* block) noexcept { detail::set_mark(block, ~detail::mark_of(block)); }

// Makes any memory a free plain block.
[[gnu::always_inline]] inline void retire_plain(std::byte* block, unsigned size_class) noexcept {
  set_free(block);
  if (size_class == kLeastClass) [[unlikely]]
    return detail::set_word(block, 0);
  // Aligned, and so never in two lines.
  *reinterpret_cast<canary::detail::Pair*>(block) = canary::detail::Pair{};
}
// Whether a free block is as it was left.
[[gnu::always_inline]] inline bool plain_is_untouched(const std::byte* block, unsigned size_class) noexcept {
  std::uint64_t wrong = (detail::mark_at(block) ^ detail::free_mark()) | detail::word(block);
  if (size_class != kLeastClass) [[likely]]
    wrong |= detail::word(block + 8);
  return wrong == 0;
}

inline void set_size(std::byte* block, std::size_t size) noexcept {
  detail::set_word(block - kHeaderBytes, size ^ detail::mark_of(block));
}
// Anything, if somebody wrote there.
inline std::size_t size_of(const std::byte* block) noexcept {
  return detail::word(block - kHeaderBytes) ^ detail::mark_of(block);
}
inline void write_canary(std::byte* end) noexcept {
  canary::detail::store(end, canary::detail::load(canary::pattern.data()));
}
inline bool canary_holds(const std::byte* end) noexcept {
  return canary::detail::is_zero(canary::detail::load(end) ^ canary::detail::load(canary::pattern.data()));
}
// So that nobody finds it in a block in use.
inline void erase_canary(std::byte* end) noexcept { canary::detail::store(end, canary::detail::Pair{}); }
// Clears what is looked at, and where a sized block ends. Of a short one 16 bytes can always be cleared, though fewer were asked for.
[[gnu::always_inline]] inline void clear_sized(std::byte* block, std::size_t size, bool full) noexcept {
  const std::size_t cleared = std::max(size, canary::kBytes);
  if (full) return canary::clear(block, cleared);
  canary::detail::store(block, canary::detail::Pair{});
  canary::detail::store(block + cleared - canary::kBytes, canary::detail::Pair{});
}
[[gnu::always_inline]] inline bool sized_is_untouched(const std::byte* block, unsigned size_class, bool full) noexcept {
  if (!is_free(block)) return false;
  if (!full) return (detail::word(block) | detail::word(block + 8)) == 0;
  const std::size_t size = size_of(block);
  return size <= sized_room(size_class) && canary::is_clear(block, std::max(size, canary::kBytes));
}

}  // namespace weft::mem::marked
