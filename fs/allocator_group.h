// fs/allocator_group.h - the two bitmaps of one allocation group and the search for free runs in them.
//
// Block numbers here count from the group's start. Not thread-safe: Allocator's lock guards it.
#pragma once

#include <cstdint>
#include <span>

#include "fs/format.h"

namespace weft::fs {

struct GroupRun {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

// 32,768 bits.
class GroupBitmap {
 public:
  [[nodiscard]] bool get(std::uint32_t bit) const noexcept { return (words_[bit / 64] >> (bit % 64) & 1) != 0; }
  void set(std::uint32_t first, std::uint32_t count) noexcept;
  void clear(std::uint32_t first, std::uint32_t count) noexcept;
  [[nodiscard]] std::uint32_t count_set() const noexcept;
  [[nodiscard]] std::uint32_t count_set(std::uint32_t first, std::uint32_t count) const noexcept;
  // First bit at or after `from` that is clear (set); kBlocksPerGroup if there is none.
  [[nodiscard]] std::uint32_t next_clear(std::uint32_t from) const noexcept;
  [[nodiscard]] std::uint32_t next_set(std::uint32_t from) const noexcept;
  // First run of `want` clear bits within [from, to), else the longest there; count 0 if there is none.
  [[nodiscard]] GroupRun find_run(std::uint32_t from, std::uint32_t to, std::uint32_t want) const noexcept;
  void load(std::span<const std::byte, kBlockBytes> bytes) noexcept;  // as a bitmap block has it on disk
  bool operator==(const GroupBitmap&) const noexcept = default;
  void store(std::span<std::byte, kBlockBytes> bytes) const noexcept;

 private:
  static constexpr std::uint32_t kWords = kBlocksPerGroup / 64;
  std::uint64_t words_[kWords] = {};
};

struct AllocatorGroup {
  GroupBitmap used;
  GroupBitmap busy;
  [[nodiscard]] bool same() const noexcept { return used == busy; }
};

}  // namespace weft::fs
