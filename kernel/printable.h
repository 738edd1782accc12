// kernel/printable.h - bytes that somebody else chose, as a terminal may be shown them.
//
//   names on a disk, paths  ->  [printable]  ->  messages, reports
//
// What a name may hold reaches no terminal as it is: control characters move the cursor or retitle the window, marks of direction
// turn the rest of the line round, and what is no UTF-8 breaks whoever reads it as JSON. Pure; any thread.
// Tests: tests/kernel/printable_test.cc.
#pragma once

#include <string>
#include <string_view>

namespace weft {

// `text` with everything but printable UTF-8 shown as \xNN, and a backslash doubled.
std::string printable(std::string_view text);

}  // namespace weft
