// sched/fiber_pool.h - the memory of a scheduler's fibers: slabs that live as long as the pool, and lists of free ones. Internal.
//
//   worker's own list  <->  [pool: list under a lock]  <-  slabs
//
// Workers take and give many at a time, so in the steady state a fiber's memory costs neither a lock nor malloc. Lists are arrays of
// pointers and not links in the fibers: so those that are used next can be fetched before they are, and a free one is not touched.
// There is no other list of living fibers: who wants to see them all walks the slabs, and holds a reference to those that live.
//
// Invariants   P1  a FiberState is free (no references; in one list), or out
//              P2  the pool ends when its scheduler has closed it and nothing is out: handles may outlive their runtime
//              P3  free_ has room for all there are, so to give one back does not allocate
// Thread-safe. Lock: lock_, a leaf. Nothing parks. Tests: tests/sched/fiber_pool_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "kernel/spinlock.h"
#include "sched/fiber.h"

namespace weft::sched {

class FiberPool {
 public:
  struct Closer {
    void operator()(FiberPool* pool) const noexcept { pool->close(); }
  };
  using Owner = std::unique_ptr<FiberPool, Closer>;
  // For fibers of `scheduler`.
  static Owner create(Scheduler* scheduler = nullptr) { return Owner(new FiberPool(scheduler)); }
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  // Fills `into`, which is not empty, from its begin; how many, at least 1. Best used from the last on: that goes up in memory.
  std::size_t take(std::span<FiberState*> into);
  void give(std::span<FiberState* const> fibers) noexcept;
  // Takes back one whose last reference is gone; on a worker of its scheduler into the worker's own list.
  void recycle(FiberState& fiber) noexcept;

  // Calls `see(FiberState&)` for each that lives, with a reference held. Those that begin or end meanwhile may be left out.
  template <typename See>
  void for_each(See&& see) {
    for (Slab* slab = slabs_.load(std::memory_order_acquire); slab != nullptr; slab = slab->next) {
      for (FiberState& fiber : slab->fibers) {
        if (!fiber.try_ref()) continue;
        see(fiber);
        fiber.unref();
      }
    }
  }

 private:
  friend struct DebugLayoutMaker;
  static constexpr std::size_t kSlabFibers = 64;
  struct Slab {
    std::array<FiberState, kSlabFibers> fibers;
    Slab* next = nullptr;
  };

  explicit FiberPool(Scheduler* scheduler) noexcept : scheduler_(scheduler) {}
  ~FiberPool();
  void close() noexcept;
  void make_slab();

  Scheduler* const scheduler_;
  std::atomic<Slab*> slabs_{nullptr};  // only ever gets longer
  Spinlock lock_;                      // guards all below, and changes of slabs_
  std::vector<FiberState*> free_;      // used from its end
  std::size_t made_ = 0;
  bool closed_ = false;
};

}  // namespace weft::sched
