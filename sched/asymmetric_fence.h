// sched/asymmetric_fence.h - a store and a later load kept in order where one side does it a million times a second. Internal.
//
//   often:    publish work;  light_fence();  is anybody asleep?
//   rarely:   say that one sleeps;  heavy_fence();  is there work?
//
// One of the two sees the other, as with a sequentially consistent fence on both sides. The light one only keeps the compiler
// in order; the heavy one makes the kernel run a full fence on every processor that runs a thread of this process
// (membarrier(2), PRIVATE_EXPEDITED: about 2 us). Where the kernel has none, both are fences.
// Thread-safe. Tests: with the scheduler's stress tests; the two uses of it in every interleaving: tests/sched/parking_model_test.cc
// and raid_model_test.cc.
#pragma once

#include <atomic>

namespace weft::sched {

namespace internal {
// Set before the first worker starts, and constant from then on.
extern std::atomic<bool> fences_are_asymmetric;
}  // namespace internal

// Once before use, any number of times.
void prepare_asymmetric_fences() noexcept;

inline void light_fence() noexcept {
  if (internal::fences_are_asymmetric.load(std::memory_order_relaxed)) [[likely]] {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
    std::atomic_thread_fence(std::memory_order_seq_cst);
  }
}

// False: the kernel refuses what it granted before (a filter of system calls that came later), so the order is not certain.
[[nodiscard]] bool heavy_fence() noexcept;

}  // namespace weft::sched
