// sched/fiber_pool.h - the memory of a scheduler's fibers: slabs that live as long as the pool, and lists of free ones. Internal.
//
//   worker's own list  <->  [pool: list under a lock]  <-  slabs
//
// Workers take and give whole chains, so in the steady state a fiber's memory costs neither a lock nor malloc. There is no other
// list of living fibers: who wants to see them all walks the slabs, and holds a reference to those that live.
//
// Invariants   P1  a FiberState is free (no references; in one list), or out
//              P2  the pool ends when its scheduler has closed it and nothing is out: handles may outlive their runtime
// Thread-safe. Lock: lock_, a leaf. Nothing parks. Tests: tests/sched/fiber_pool_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "kernel/spinlock.h"
#include "sched/fiber.h"

namespace weft::sched {

// Some free ones, linked by queue_next.
struct FiberChain {
  FiberState* first = nullptr;
  std::size_t count = 0;

  void push(FiberState& fiber) noexcept {
    fiber.queue_next = first;
    first = &fiber;
    ++count;
  }
  FiberState* pop() noexcept {
    FiberState* fiber = first;
    if (fiber == nullptr) return nullptr;
    first = fiber->queue_next;
    --count;
    return fiber;
  }
  // The first `wanted` of it.
  FiberChain cut(std::size_t wanted) noexcept;
};

class FiberPool {
 public:
  struct Closer {
    void operator()(FiberPool* pool) const noexcept { pool->close(); }
  };
  using Owner = std::unique_ptr<FiberPool, Closer>;
  static Owner create() { return Owner(new FiberPool); }
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  // Between 1 and `wanted`.
  FiberChain take(std::size_t wanted);
  void give(FiberChain chain) noexcept;
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
  struct Slab {
    std::array<FiberState, 64> fibers;
    Slab* next = nullptr;
  };

  FiberPool() = default;
  ~FiberPool();
  void close() noexcept;

  std::atomic<Slab*> slabs_{nullptr};  // only ever gets longer
  Spinlock lock_;                      // guards all below, and changes of slabs_
  FiberChain free_;
  std::size_t out_ = 0;
  bool closed_ = false;
};

}  // namespace weft::sched
