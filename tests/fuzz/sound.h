// tests/fuzz/sound.h - what must hold of any volume that fsck says it has repaired: a second look finds nothing, it mounts, takes
// everything, and is sound still.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "fs/check/check.h"
#include "kernel/check.h"
#include "tests/support/damaged_volume.h"

namespace weft::fuzz {

[[noreturn]] inline void show(const fs::check::CheckReport& report, const char* when) {
  std::fprintf(stderr, "%s, after %u rounds:\n", when, report.rounds);
  for (const fs::check::Finding& finding : report.findings)
    std::fprintf(stderr, "%s%s\n", finding.message.c_str(), finding.repaired ? " (repaired)" : "");
  std::abort();
}

inline void expect_sound(BlockDevice& disk, const char* when) {
  const auto report = fs::check::check_volume(disk, {});
  WEFT_CHECK(report);
  if (!report->clean()) show(*report, when);
}

// Where no superblock can be believed there is no repair, and none of what has features that this program does not know.
inline void repair_and_use(BlockDevice& disk) {
  fs::check::CheckOptions repair;
  repair.repair = true;
  const auto report = fs::check::check_volume(disk, repair);
  if (!report) return;
  if (report->uncorrected != 0) {
    const bool unknown = std::ranges::any_of(
        report->notes, [](const std::string& note) { return note.find("does not know") != note.npos; });
    if (!unknown) show(*report, "not repaired");
    return;
  }
  expect_sound(disk, "after the repair");
  WEFT_CHECK(test::use_volume(disk));
  expect_sound(disk, "after use");
}

}  // namespace weft::fuzz
