// mem/size_class.h - which sizes small blocks come in, and how many 16 KiB units a slab of each takes. Internal.
//
// 8 bytes, then steps of 16 to 128, then eight steps a doubling to 128 KiB: at most 12.5 % of a block is wasted, where four
// steps (jemalloc, mimalloc) waste up to 25. Every size but the first is a multiple of 16, and a multiple of 4 KiB from 32 KiB
// down as far as its doubling allows, so aligned requests find a class that is aligned by itself (aligned_class).
// Tests: tests/mem/size_class_test.cc.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace weft::mem {

inline constexpr std::size_t kUnitBytes = std::size_t{16} << 10;
inline constexpr unsigned kUnitShift = 14;
inline constexpr std::size_t kPageBytes = 4096;
inline constexpr std::size_t kMinAlign = 16;

inline constexpr std::size_t kMaxSmall = std::size_t{128} << 10;  // bytes; above it, runs of units
inline constexpr unsigned kClasses = 1 + 8 + 8 * 10;
// From here on a block can as well have a run of its own: where its pages are better new than used, or it has one already.
inline constexpr std::size_t kLeastRun = std::size_t{32} << 10;

// Sizes to this one find their class in a table, with one load and no arithmetic.
inline constexpr std::size_t kTableMax = 1024;

namespace detail {
constexpr unsigned class_by_arithmetic(std::size_t size) noexcept {
  if (size <= 8) return 0;
  if (size <= 128) return static_cast<unsigned>((size + 15) / 16);
  // 2^e < size <= 2^(e+1), in eight steps.
  const unsigned e = static_cast<unsigned>(std::bit_width(size - 1)) - 1;
  return 9 + (e - 7) * 8 + static_cast<unsigned>((size - 1) >> (e - 3)) - 8;
}

constexpr std::array<std::uint32_t, kClasses> make_sizes() noexcept {
  std::array<std::uint32_t, kClasses> sizes{};
  sizes[0] = 8;
  for (unsigned c = 1; c <= 8; ++c) sizes[c] = 16 * c;
  for (unsigned c = 9; c < kClasses; ++c) sizes[c] = (8 + (c - 9) % 8 + 1) << (4 + (c - 9) / 8);
  return sizes;
}

constexpr std::array<std::uint8_t, kTableMax + 1> make_table() noexcept {
  std::array<std::uint8_t, kTableMax + 1> table{};
  for (std::size_t size = 0; size <= kTableMax; ++size)
    table[size] = static_cast<std::uint8_t>(class_by_arithmetic(size));
  return table;
}
}  // namespace detail

inline constexpr std::array<std::uint32_t, kClasses> kClassBytes = detail::make_sizes();
inline constexpr std::array<std::uint8_t, kTableMax + 1> kClassTable = detail::make_table();

// size <= kMaxSmall.
constexpr unsigned class_of(std::size_t size) noexcept {
  return size <= kTableMax ? kClassTable[size] : detail::class_by_arithmetic(size);
}

// The smallest class of at least `size` bytes whose blocks are all aligned to `align`, a power of two up to kUnitBytes; kClasses if
// there is none. Slabs begin at a multiple of kUnitBytes, so it is enough that the size is a multiple.
constexpr unsigned aligned_class(std::size_t size, std::size_t align) noexcept {
  const std::size_t rounded = (std::max(size, std::size_t{1}) + align - 1) & ~(align - 1);
  if (rounded > kMaxSmall) return kClasses;
  unsigned c = class_of(rounded);
  while (c < kClasses && kClassBytes[c] % align != 0) ++c;
  return c;
}

inline constexpr unsigned kMostSlabUnits = 8;

// Units of a slab: eight blocks where that fits into 128 KiB, else as many as do. What a slab's end cannot hold is never touched.
constexpr unsigned slab_units(unsigned size_class) noexcept {
  constexpr std::size_t kMost = kMostSlabUnits;
  const std::size_t bytes = kClassBytes[size_class];
  const std::size_t blocks = std::min(std::size_t{8}, kMost * kUnitBytes / bytes);
  const std::size_t units = (blocks * bytes + kUnitBytes - 1) / kUnitBytes;
  return static_cast<unsigned>(bytes > kLeastRun ? units : std::min(std::bit_ceil(units), kMost));
}

static_assert(kClassBytes[kClasses - 1] == kMaxSmall && class_of(kMaxSmall) == kClasses - 1);
static_assert(class_of(0) == 0 && class_of(9) == 1 && class_of(129) == 9 && class_of(1025) == class_of(1152));

}  // namespace weft::mem
