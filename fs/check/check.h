// fs/check/check.h - finds all that is wrong with a volume, and puts it right.
//
//   fsck.weft, tests -> [check] -> checked_volume, repair
//
// Rounds: look at everything, edit, write one checkpoint, look again, until nothing is found. A round that is cut off in the middle
// leaves the volume as it was before. Read-only it writes nothing, and plays the log in memory: what it looks at is what mounting
// would find.
//
// Thread-safe in that it shares nothing; nobody else may use the device meanwhile. Parks. Memory: some 75 bytes an inode and its name, and
// a bitmap for each 128 MiB in use. Tests: tests/fs/check/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "fs/check/checked_volume.h"
#include "fs/check/finding.h"
#include "kernel/block_device.h"
#include "kernel/clock.h"
#include "kernel/result.h"

namespace weft::fs::check {

struct CheckOptions {
  bool repair = false;
  bool only_safe = false;  // of repairs
  bool data = false;       // read all data of all files, too
  Progress progress;       // may be empty
  Clock* clock = nullptr;  // null: system_clock()
};

struct CheckReport {
  std::vector<Finding> findings;   // in the order of the rounds that found them
  std::vector<std::string> notes;  // what is worth a line and no damage
  std::uint64_t found = 0;         // all of them, were there too many to list
  std::uint64_t uncorrected = 0;
  std::uint64_t replayed_records = 0;
  unsigned rounds = 0;
  bool changed = false;  // something was written
  // Of the last round.
  std::uint64_t inodes = 0, directories = 0, names = 0, extents = 0, nodes = 0;
  std::uint64_t used_blocks = 0, total_blocks = 0;

  [[nodiscard]] bool clean() const noexcept { return found == 0; }
};

// An error is what kept it from looking (see CheckedVolume::open) or from writing; what was found until then is lost with it.
Result<CheckReport> check_volume(BlockDevice& device, const CheckOptions& options);

}  // namespace weft::fs::check
