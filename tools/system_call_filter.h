// tools/system_call_filter.h - which system calls the process may still make: a seccomp filter, by libseccomp.
//
// A list of what a serving mount calls. Anything else is refused with EPERM and a line in the kernel's log (audit): a call that was
// forgotten here costs what it was for, not the mount. Those that no server makes and that intruders come for (running a program,
// tracing, mounting, loading code into the kernel, another io_uring) end the process.
//
// The filter sees numbers and plain arguments, not paths, and not what is asked of an io_uring: those are Landlock's
// (tools/landlock.h) and the rings' own (Uring::Options::open_descriptors_only). Tests: tests/tools/confine_test.cc.
#pragma once

#include <string>

#include "kernel/result.h"

namespace weft::tools {

// All threads from now on. `writes_files`: files may be made, written, renamed and removed; else only read. Needs no_new_privs.
// Errors: kUnsupported where the kernel, or this build, has no seccomp.
Status install_system_call_filter(bool writes_files);

// "libseccomp 2.5.4"; empty if this program was built without it.
std::string system_call_filter_library();

}  // namespace weft::tools
