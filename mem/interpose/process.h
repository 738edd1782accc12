// mem/interpose/process.h - what WEFT_HEAP asks for at the start and the end of a process whose malloc this heap is. Internal.
//
// Start: sampling, the socket for `weft heap`. End: report, profile, leaks. Files that cannot be written are said on standard error.
// Tests: tests/mem/report_test.cc, tests/mem/profile_test.cc, tests/tools/weft_heap_test.cc.
#pragma once

namespace weft::mem {

// Nothing to call: malloc.cc names it, so that a program that links malloc has the constructor and destructor as well.
extern const char kProcessHooks;

}  // namespace weft::mem
