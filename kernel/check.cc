#include "kernel/check.h"

#include <cstdio>
#include <cstdlib>

namespace weft {

void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr,
               "weft: internal error: %s does not hold (%s:%d). This is a bug; what was acknowledged is safe.\n",
               condition, file, line);
  std::abort();
}

}  // namespace weft
