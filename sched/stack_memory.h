// sched/stack_memory.h - where a runtime has the address space of its fibers' stacks from: the kernel, or a heap that answers for it.
//
// Thread-safety: the functions are called from any worker, several at once. They may not park.
#pragma once

#include <cstddef>

namespace weft::sched {

struct StackMemory {
  // Readable and writable, aligned to pages, contents undefined; nullptr with errno: there is none. Parts of it are forbidden
  // (mprotect, MADV_GUARD_INSTALL), advised and given to the kernel; whoever gets it back undoes that.
  void* (*take)(std::size_t bytes) = nullptr;  // null: both are the kernel's, mmap and munmap
  // All of what was taken at `start`, once the last stack is gone and the runtime ends.
  void (*give)(void* start, std::size_t bytes) = nullptr;
};

}  // namespace weft::sched
