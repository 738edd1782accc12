// kernel/lock_order.h - which locks somebody holds, and whether the next may be asked for: ranks ascend, or two may wait for each other for ever.
//
//   sched's mutexes (checked builds) -> [HeldLocks], one for each fiber and plain thread
//
// A deadlock needs two orders at the same time; the wrong order shows here the first time it is taken, alone. Within a rank locks
// have an order of their own (inodes: by number) or none, and then any number of them may be held.
//
// Not thread-safe: its owner's. Never parks. Tests: tests/kernel/lock_order_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft {

// A place in the one written order of a part's locks. 0: not in it; never checked.
struct LockRank {
  std::uint8_t number = 0;
  const char* name = "";
};

class HeldLocks {
 public:
  // Before waiting for a lock: ends the process, naming both, if one is held that comes after it or at the same place.
  void may_wait_for(LockRank rank, std::uint64_t order) const noexcept;
  // It was got, by waiting or by a try (which cannot deadlock and is not checked).
  void add(const void* lock, LockRank rank, std::uint64_t order) noexcept;
  void remove(const void* lock) noexcept;
  [[nodiscard]] std::size_t count() const noexcept { return count_; }

 private:
  struct Held {
    const void* lock = nullptr;
    LockRank rank;
    std::uint64_t order = 0;
  };
  static constexpr std::size_t kMost = 16;

  Held held_[kMost];
  std::size_t count_ = 0;
};

}  // namespace weft
