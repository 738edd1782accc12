// sched/stack.h - fiber stacks: guarded, pooled, touched only as deep as they are used. Internal.
//
//   worker's magazine  ->  StackDepot  ->  StackPool, one for each size  ->  slabs of address space  ->  StackMemory
//
// Each stack has a guard below it, by MADV_GUARD_INSTALL where the kernel has it (Linux 6.13: no extra mapping, hundreds of
// thousands of stacks) and by mprotect elsewhere (two mappings a stack, so about vm.max_map_count / 2 of them). Running over
// the end is a fault (reported by overflow.h), never a write into a neighbour, for frames smaller than the guard. Of the stacks
// given back a few keep their memory; what many fibers at once have touched goes back to the system when they end.
//
// Sizes: the runtime's own, and powers of two from 16 KiB to 64 MiB for fibers that ask for another.
//
// Invariants   K1  a stack is in its pool or with one fiber, never both
//              K2  slabs live as long as their pool
// Thread-safe. Nothing parks. Tests: tests/sched/stack_test.cc.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <vector>

#include "kernel/result.h"
#include "kernel/spinlock.h"
#include "sched/stack_memory.h"

namespace weft::sched {

struct Stack {
  static constexpr std::size_t kGuardBytes = 64 * 1024;  // address space only; one frame may be so large
  std::byte* bottom = nullptr;                           // lowest usable byte; the guard lies right below
  std::size_t size_bytes = 0;
  explicit operator bool() const noexcept { return bottom != nullptr; }
  [[nodiscard]] bool holds(const void* address) const noexcept {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= bottom && byte < bottom + size_bytes;
  }
  [[nodiscard]] bool guards(const void* address) const noexcept {
    const auto* byte = static_cast<const std::byte*>(address);
    return byte >= bottom - kGuardBytes && byte < bottom;
  }
};

class StackPool {
 public:
  // `size_bytes` is rounded up to whole pages.
  explicit StackPool(std::size_t size_bytes, StackMemory memory = {});
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // kNoMemory, with advice, when the system has no more mappings or address space to give.
  Result<Stack> take();
  void give(Stack stack) noexcept;

  [[nodiscard]] std::size_t stack_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] std::size_t made() const noexcept;  // stacks that exist, in use or not
  [[nodiscard]] std::size_t free() const noexcept;
  // How deep the deepest of the stacks that have memory now was ever used, in whole pages. Asks the kernel about all of them:
  // takes long.
  [[nodiscard]] std::size_t high_water_bytes() const;

 private:
  struct Slab {
    std::byte* start = nullptr;
    std::size_t length_bytes = 0;
  };
  Status grow();
  void* take_slab(std::size_t bytes) const noexcept;
  void give_slab(const Slab& slab) const noexcept;

  const std::size_t size_bytes_;
  const StackMemory memory_;
  const std::size_t most_warm_;  // with memory
  const std::size_t slab_stacks_;
  mutable Spinlock lock_;  // guards all below
  std::vector<Stack> warm_;
  std::vector<Stack> cold_;  // without memory
  std::vector<Slab> slabs_;
  std::size_t made_ = 0;
};

// How much of `stack` has memory now, from its lowest touched page to the top.
std::size_t touched_bytes(const Stack& stack);

struct StackUse {
  std::size_t stack_bytes = 0;
  std::size_t made = 0;
  std::size_t with_fibers = 0;       // or in a worker's magazine
  std::size_t high_water_bytes = 0;  // 0 if not asked for
};

class StackDepot {
 public:
  static constexpr std::size_t kSmallestBytes = 16 * 1024, kLargestBytes = 64 * 1024 * 1024;

  explicit StackDepot(std::size_t usual_bytes, StackMemory memory = {})
      : memory_(memory), usual_(usual_bytes, memory) {}
  ~StackDepot();
  StackDepot(const StackDepot&) = delete;
  StackDepot& operator=(const StackDepot&) = delete;

  // Of the smallest size that has `size_bytes`; 0: the usual. kInvalid: more than the largest. kNoMemory as StackPool.
  Result<Stack> take(std::size_t size_bytes = 0);
  void give(Stack stack) noexcept;

  [[nodiscard]] std::size_t usual_bytes() const noexcept { return usual_.stack_bytes(); }
  [[nodiscard]] std::size_t made() const noexcept;
  // Those of the size that has `size_bytes`: all there are, and those that can be taken without making one.
  [[nodiscard]] std::size_t made_of(std::size_t size_bytes);
  [[nodiscard]] std::size_t free_of(std::size_t size_bytes);
  // Of all sizes, that are with fibers or in workers' magazines.
  [[nodiscard]] std::size_t out() const noexcept;
  // Of all sizes in use.
  [[nodiscard]] std::vector<StackUse> use(bool with_high_water) const;

 private:
  static constexpr std::size_t kSizes = 13;  // 16 KiB << 12 is the largest
  static_assert(kSmallestBytes << (kSizes - 1) == kLargestBytes);
  StackPool* pool_of(std::size_t size_bytes);

  const StackMemory memory_;
  StackPool usual_;
  Spinlock making_;                          // guards that a pool is made once
  std::atomic<StackPool*> pools_[kSizes]{};  // made at first use
};

}  // namespace weft::sched
