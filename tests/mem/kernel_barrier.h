// Whether this kernel can have all threads of a process pass a barrier. Asked of the kernel, and not of the heap's own function, whose failure
// would else skip the tests that are to see it.
#pragma once

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft::mem::test {

inline bool kernel_has_barrier() {
  const long known = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0U, 0);
  return known > 0 && (known & MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0;
}

}  // namespace weft::mem::test
