// tools/mount_options.h - what mount.weft is asked to do: its command line, as mount(8) or a person writes it.
//
//   mount.weft IMAGE DIRECTORY [-sfnv] [-N namespace] [-t type] [-o option,...]
//
// Pure but for the question who called. Tests: tests/tools/mount_options_test.cc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/memory_plan.h"
#include "kernel/result.h"
#include "tools/confine.h"

namespace weft::tools {

struct MountOptions {
  std::string image;
  std::string directory;

  // What to do.
  bool help = false;
  bool version = false;
  bool remount = false;
  bool fake = false;  // all but the mount itself (mount -f)
  bool foreground = false;
  bool verbose = false;
  bool sloppy = false;  // unknown options are passed over

  // For the kernel.
  unsigned long flags = 0;  // MS_* of mount(2)
  bool read_only() const noexcept;

  // For the server.
  bool allow_other = true;  // root's default; an ordinary user has to ask
  bool allow_other_asked = false;
  bool plain_fuse = false;  // no loop device, no fuseblk
  bool writeback = true;
  bool check_open = true;
  bool group_from_parent = false;
  std::uint64_t memory_bytes = fs::kDefaultMemoryBytes;
  std::uint32_t commit_interval_ms = 5000;
  std::uint32_t max_background = 256;
  unsigned workers = 0;  // 0: one for each processor
  unsigned read_ahead_kib = 4096;
  bool use_io_uring = true;         // for disk and waiting
  bool supervise = false;           // another server goes on where one dies
  unsigned watchdog_seconds = 120;  // a server that hangs for so long is ended; 0: never
  Confine confine = Confine::kAuto;
  std::string trace_file;
  std::string metrics_file;
  std::vector<std::string> notes;  // options accepted without effect, and why
};

// `called_by_mount`: by mount(8), where -f means "fake"; a person's -f means "foreground".
// Errors: kInvalid with a sentence that names the word it is about.
Result<MountOptions> parse_mount_options(const std::vector<std::string>& words, bool called_by_mount);

std::string_view mount_usage() noexcept;

}  // namespace weft::tools
