// tools/confine.h - a server gives up what it does not need to serve, before it answers for what others have written.
//
//   opened, mounted, first answer out -> [confine: landlock, capabilities, system_call_filter] -> serving, until unmounted
//
// Whoever finds a way to run code in the server, by a forged image or request, then holds the image, the mount, and little else:
//
//   no_new_privs    no program that is run gains a privilege
//   capabilities    none are left. umount(2) at a signal is done by a process that was forked before (tools/unmounter.h); device
//                   descriptors are open, and reading, writing, discarding and answering /dev/fuse need no privilege; what root
//                   alone may set (read-ahead, oom_score_adj, loop device) is set by now. CAP_DAC_OVERRIDE stays where the file of
//                   metrics lies in a folder that root could not write without it.
//   Landlock        files: /proc to read, the folder of that file to write; no mount(2), no TCP (tools/landlock.h)
//   seccomp         no system calls but those of a server (tools/system_call_filter.h)
//
// The user stays: root's server is still root's process. As the image's owner it could be traced by that owner's other processes, who
// would then answer for a mount with setuid programs and devices; root without capabilities owns files, which Landlock and seccomp
// keep from it; and ext4's reserve for root still serves an image that grows on it.
//
// On threads that run already as well as on later ones. There is no way back. What is not covered: fs/THREATS.md.
// Tests: tests/tools/confine_test.cc, tests/e2e/confine.sh.
#pragma once

#include <cstdint>
#include <string>

#include "kernel/result.h"

namespace weft::tools {

enum class Confine : std::uint8_t {
  kAuto,  // as far as the machine allows
  kOn,    // all of it, or an error
  kOff,   // nothing
};

struct Confinement {
  std::string held_by;  // for people: "no capabilities, Landlock, seccomp"
  std::string missing;  // what this machine does not offer, and why; empty if nothing
};

// `written_file`: absolute path of the one file that is replaced from time to time (with ".new" beside it); empty if there is none.
// Call it once, from any thread. Errors, with kOn alone: kUnsupported. Some of it may then be in force all the same.
Result<Confinement> confine(Confine how, const std::string& written_file);

}  // namespace weft::tools
