// tests/support/child.h - runs something in a process of its own, for what cannot be undone or ends the process.
#pragma once

#include <string>

#include "kernel/function_ref.h"

namespace weft::test {

struct ChildEnd {
  std::string said;  // what the body returned; its complaint, or empty
  int signal = 0;    // that ended it
};

// The body runs in a forked copy of this process, of which no thread but the calling one is left. It is killed after a minute.
// What it throws ends it.
ChildEnd in_child(FunctionRef<std::string()> body) noexcept;

}  // namespace weft::test
