// fs/check/repair.h - makes the edits that findings ask for.
//
//   check -> [repair] -> checked_volume (in memory, until it is written)
//
// One round: each edit does what its finding says and no more. Counts that change by it, and blocks that lose their owner, are
// found by the next round. Parks on the device, for reading. Tests: tests/fs/check/repair_test.cc.
#pragma once

#include "fs/check/checked_volume.h"
#include "fs/check/finding.h"

namespace weft::fs::check {

inline constexpr std::string_view kLostAndFound = "lost+found";

// Marks what it has done as `repaired`.
Status repair(CheckedVolume& volume, bool only_safe);

}  // namespace weft::fs::check
