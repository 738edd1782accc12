// mem/fatal.cc - see fatal.h.
#include "mem/fatal.h"

#include <cstdlib>

#include "mem/line.h"
#include "mem/profile.h"

namespace weft::mem {

void fatal(const char* what, const void* where) noexcept {
  Line().add("weft heap: ").add(what).add(": ").add_address(where).write_out();
  tell_origin(where);
  std::abort();
}

}  // namespace weft::mem
