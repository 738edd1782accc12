// sched/stack.h - fiber stacks: guarded, pooled, touched only as deep as they are used.
//
// Stacks are cut from slabs of address space. Each has a guard below it, by MADV_GUARD_INSTALL where the kernel has it (Linux
// 6.13: no extra mapping, hundreds of thousands of stacks) and by mprotect elsewhere (two mappings a stack, so about
// vm.max_map_count / 2 of them). Running over the end is a fault, never a write into a neighbour. Of those given back a few keep
// their memory; what many fibers at once have touched goes back to the system when they end.
//
// Invariants   K1  a stack is in the pool or with one fiber, never both
// Thread-safe. Nothing parks. Tests: tests/sched/stack_test.cc.
#pragma once

#include <cstddef>
#include <vector>

#include "kernel/result.h"
#include "kernel/spinlock.h"

namespace weft::sched {

struct Stack {
  std::byte* bottom = nullptr;  // lowest usable byte; the guard lies right below
  std::size_t size_bytes = 0;
  explicit operator bool() const noexcept { return bottom != nullptr; }
};

class StackPool {
 public:
  // `size_bytes` is rounded up to whole pages.
  explicit StackPool(std::size_t size_bytes);
  ~StackPool();
  StackPool(const StackPool&) = delete;
  StackPool& operator=(const StackPool&) = delete;

  // kNoMemory, with advice, when the system has no more mappings or address space to give.
  Result<Stack> take();
  void give(Stack stack) noexcept;

  [[nodiscard]] std::size_t stack_bytes() const noexcept { return size_bytes_; }
  [[nodiscard]] std::size_t made() const noexcept;  // stacks that exist, in use or not

 private:
  struct Slab {
    std::byte* start = nullptr;
    std::size_t length_bytes = 0;
  };
  Status grow();

  const std::size_t size_bytes_;
  mutable Spinlock lock_;  // guards all below
  std::vector<Stack> warm_;
  std::vector<Stack> cold_;  // without memory
  std::vector<Slab> slabs_;
  std::size_t made_ = 0;
};

}  // namespace weft::sched
