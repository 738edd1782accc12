// mem/limits.h - how much memory the whole heap may hold.
//
// Counted are units of 16 KiB in use: slabs and large blocks whole, and the heap's own. The pages of free ones, which are kept for a
// while otherwise, go back to the kernel as soon as both together are more than a limit.
//   soft  once it is passed, each thread's lists are flushed when that thread next needs a new slab or a large block, and one message
//         goes to standard error. The program gets its memory.
//   hard  nothing is given out beyond it: ENOMEM, or the new-handler and std::bad_alloc. What waits in the caller's lists is flushed first.
// A block that grows by moving needs room for both places. What is in use when a hard limit is set lower stays.
// Thread-safe; takes effect at once. At start: WEFT_HEAP=soft=SIZE,hard=SIZE.
// Tests: tests/mem/limits_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::mem {

struct Limits {
  std::size_t soft_bytes = SIZE_MAX;  // SIZE_MAX: none
  std::size_t hard_bytes = SIZE_MAX;
};

[[gnu::visibility("default")]] void set_limits(const Limits& limits) noexcept;
// In whole units, so at most as large as they were set.
[[gnu::visibility("default")]] Limits limits() noexcept;

}  // namespace weft::mem
