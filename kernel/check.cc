#include "kernel/check.h"

#include <cstdio>
#include <cstdlib>

#include "kernel/log.h"

namespace weft {

void check_failed(const char* condition, const char* file, int line) noexcept {
  std::fprintf(stderr,
               "weft: internal error: %s does not hold (%s:%d). This is a bug; what was acknowledged is safe.\n",
               condition, file, line);
  // A server in the background has nobody at its standard error.
  if (!log_goes_to_stderr()) log_error("internal error: %s does not hold (%s:%d)", condition, file, line);
  std::abort();
}

}  // namespace weft
