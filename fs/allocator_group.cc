#include "fs/allocator_group.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace weft::fs {

namespace {

// The bits of word `word` that lie in [first, end).
std::uint64_t mask_of(std::uint32_t word, std::uint32_t first, std::uint32_t end) noexcept {
  std::uint64_t mask = ~std::uint64_t{0};
  if (word == first / 64) mask &= ~std::uint64_t{0} << (first % 64);
  if (word == end / 64) mask &= (std::uint64_t{1} << (end % 64)) - 1;
  return mask;
}

template <typename F>
void for_each_word(std::uint32_t first, std::uint32_t count, F&& visit) {
  if (count == 0) return;
  const std::uint32_t end = first + count;
  for (std::uint32_t word = first / 64; word <= (end - 1) / 64; ++word) visit(word, mask_of(word, first, end));
}

}  // namespace

void GroupBitmap::set(std::uint32_t first, std::uint32_t count) noexcept {
  for_each_word(first, count, [&](std::uint32_t word, std::uint64_t mask) { words_[word] |= mask; });
}

void GroupBitmap::clear(std::uint32_t first, std::uint32_t count) noexcept {
  for_each_word(first, count, [&](std::uint32_t word, std::uint64_t mask) { words_[word] &= ~mask; });
}

std::uint32_t GroupBitmap::count_set() const noexcept { return count_set(0, kBlocksPerGroup); }

std::uint32_t GroupBitmap::count_set(std::uint32_t first, std::uint32_t count) const noexcept {
  std::uint32_t total = 0;
  for_each_word(first, count, [&](std::uint32_t word, std::uint64_t mask) {
    total += static_cast<std::uint32_t>(std::popcount(words_[word] & mask));
  });
  return total;
}

std::uint32_t GroupBitmap::next_clear(std::uint32_t from) const noexcept {
  if (from >= kBlocksPerGroup) return kBlocksPerGroup;
  std::uint64_t bits = ~words_[from / 64] & (~std::uint64_t{0} << (from % 64));
  for (std::uint32_t word = from / 64;; bits = ~words_[word]) {
    if (bits != 0) return word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
    if (++word == kWords) return kBlocksPerGroup;
  }
}

std::uint32_t GroupBitmap::next_set(std::uint32_t from) const noexcept {
  if (from >= kBlocksPerGroup) return kBlocksPerGroup;
  std::uint64_t bits = words_[from / 64] & (~std::uint64_t{0} << (from % 64));
  for (std::uint32_t word = from / 64;; bits = words_[word]) {
    if (bits != 0) return word * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
    if (++word == kWords) return kBlocksPerGroup;
  }
}

GroupRun GroupBitmap::find_run(std::uint32_t from, std::uint32_t to, std::uint32_t want) const noexcept {
  GroupRun best;
  for (std::uint32_t first = next_clear(from); first < to;) {
    const std::uint32_t end = std::min(next_set(first), to);
    const std::uint32_t count = std::min(end - first, want);
    if (count > best.count) best = {first, count};
    if (count >= want) break;
    first = next_clear(end);
  }
  return best;
}

// Byte n / 8, bit n % 8: on a little-endian machine the words are the bytes, but say it in a way that holds anywhere.
void GroupBitmap::load(std::span<const std::byte, kBlockBytes> bytes) noexcept {
  for (std::uint32_t word = 0; word < kWords; ++word) {
    le64 value;
    std::memcpy(&value, bytes.data() + word * 8, 8);
    words_[word] = value;
  }
}

void GroupBitmap::store(std::span<std::byte, kBlockBytes> bytes) const noexcept {
  for (std::uint32_t word = 0; word < kWords; ++word) {
    const le64 value = words_[word];
    std::memcpy(bytes.data() + word * 8, &value, 8);
  }
}

}  // namespace weft::fs
