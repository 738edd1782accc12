// sched/lock_place.h - where a mutex stands in the order of its part's locks; checked in sanitizer builds, gone in others.
//
//   sched::Mutex lock_{kTreeLock};      // fs/lock_ranks.h
//
// With WEFT_LOCK_ORDER (FLAVOUR=asan, tsan, ubsan) every wait for a mutex with a rank is checked against those that the fiber, or plain thread,
// holds; see kernel/lock_order.h. A mutex with a rank is let go by who took it. Internal to sched/ but for ranks.
// Tests: tests/sched/lock_place_test.cc.
#pragma once

#include <cstdint>

#include "kernel/lock_order.h"

namespace weft::sched {

#ifdef WEFT_LOCK_ORDER

inline constexpr bool kLockOrderChecked = true;

class LockPlace {
 public:
  LockPlace() noexcept = default;
  LockPlace(LockRank rank, std::uint64_t order) noexcept : rank_(rank), order_(order) {}
  void may_wait() const noexcept;
  void took() const noexcept;
  void let_go() const noexcept;

 private:
  LockRank rank_;
  std::uint64_t order_ = 0;
};

#else

inline constexpr bool kLockOrderChecked = false;

class LockPlace {
 public:
  LockPlace() noexcept = default;
  LockPlace(LockRank, std::uint64_t) noexcept {}
  void may_wait() const noexcept {}
  void took() const noexcept {}
  void let_go() const noexcept {}
};

#endif

}  // namespace weft::sched
