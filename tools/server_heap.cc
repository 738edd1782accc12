#include "tools/server_heap.h"

#include <malloc.h>

namespace weft::tools {

// NOLINTBEGIN(concurrency-mt-unsafe): before there are threads.
void bound_heap() noexcept {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 20);
  ::mallopt(M_ARENA_MAX, 4);
}
// NOLINTEND(concurrency-mt-unsafe)

void trim_heap(std::size_t keep_bytes) noexcept {
  if (::mallinfo2().fordblks > keep_bytes) ::malloc_trim(0);
}

}  // namespace weft::tools
