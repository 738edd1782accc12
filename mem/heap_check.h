// mem/heap_check.h - walks everything the heap knows, and says what does not fit together. Internal; for tests and for doubt.
//
// The invariants of descriptor.h, local_heap.h (L1 to L3), remote_free.h and page_runs.h (P1 to P3). Nobody else may use the heap
// meanwhile, unless what waits in other threads' lists is to be believed: call it when others are parked or have ended.
// O(units + blocks). Allocates nothing.
// Tests: tests/mem/heap_check_test.cc.
#pragma once

#include <cstddef>

namespace weft::mem {

struct Checked {
  const char* broken = nullptr;  // the rule; nullptr: all hold
  const void* where = nullptr;   // a block, or the start of a run
  std::size_t slabs = 0;
  std::size_t large_blocks = 0;
  std::size_t free_runs = 0;
  std::size_t blocks_used = 0;  // of slabs: in the program's hands, in batches, or on their way
};

Checked check_invariants() noexcept;

}  // namespace weft::mem
