// fs/reference_counts.h - how many references somebody else holds of which inode, in as few bytes as a count can have.
//
//   inode_table -> [reference_counts]
//
// The kernel holds a reference to every inode that it has in its cache, and it caches millions. So what is kept of those is not an
// Inode but a number and a count: sixteen bytes in an open-addressed table (linear probing, deletion by shifting back: Knuth,
// vol. 3, 6.4, algorithms L and R) that is some three quarters full while it grows, so about twenty bytes each.
//
// Invariant  between where a number's place would be and where it is, no slot is free
// Not thread-safe. Never parks. add() and take() are O(1), but for growing. Tests: tests/fs/reference_counts_test.cc
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "fs/types.h"

namespace weft::fs {

class ReferenceCounts {
 public:
  void add(InodeNo inode, std::uint64_t references);
  // How many are left. Never takes more than there are.
  std::uint64_t take(InodeNo inode, std::uint64_t references);
  [[nodiscard]] bool has(InodeNo inode) const noexcept { return count_ != 0 && slots_[find(inode)].references != 0; }
  [[nodiscard]] std::size_t count() const noexcept { return count_; }  // of inodes
  [[nodiscard]] std::size_t bytes() const noexcept { return slots_.capacity() * sizeof(Slot); }

  // The inodes of the next `slots` slots from `hand` on, which moves along and begins anew at the end; until `visit` returns false.
  template <typename F>
  void sweep(std::size_t& hand, std::size_t slots, F&& visit) const {
    for (; slots != 0 && !slots_.empty(); --slots) {
      if (hand >= slots_.size()) hand = 0;
      const Slot& slot = slots_[hand++];
      if (slot.references != 0 && !visit(InodeNo(slot.inode))) return;
    }
  }
  [[nodiscard]] std::size_t slots() const noexcept { return slots_.size(); }

 private:
  struct Slot {
    std::uint64_t inode = 0;
    std::uint64_t references = 0;  // 0: the slot is free
  };
  [[nodiscard]] std::size_t place_of(std::uint64_t inode) const noexcept;
  [[nodiscard]] std::size_t next(std::size_t slot) const noexcept { return slot + 1 == slots_.size() ? 0 : slot + 1; }
  // Where it is, or the free slot where it would go. Wants a free slot somewhere.
  [[nodiscard]] std::size_t find(InodeNo inode) const noexcept;
  void resize(std::size_t slots);

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

}  // namespace weft::fs
