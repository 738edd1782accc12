// tests/fuzz/sound.h - what must hold of any volume that fsck says it has repaired: a second look finds nothing, it mounts, takes
// everything, and is sound still.
#pragma once

#include <cstdio>
#include <cstdlib>

#include "fs/check/check.h"
#include "kernel/check.h"
#include "tests/support/damaged_volume.h"

namespace weft::fuzz {

inline void expect_sound(BlockDevice& disk, const char* when) {
  const auto report = fs::check::check_volume(disk, {});
  if (report && report->clean()) return;
  std::fprintf(stderr, "%s: %s\n", when, report ? "findings" : report.error().message().c_str());
  if (report) {
    for (const fs::check::Finding& finding : report->findings) std::fprintf(stderr, "%s\n", finding.message.c_str());
  }
  std::abort();
}

// Where no superblock can be believed, or one names what this program does not know, there is no repair.
inline void repair_and_use(BlockDevice& disk) {
  fs::check::CheckOptions repair;
  repair.repair = true;
  const auto report = fs::check::check_volume(disk, repair);
  if (!report) return;
  if (report->uncorrected != 0) {
    WEFT_CHECK(!report->findings.empty());
    return;
  }
  expect_sound(disk, "after the repair");
  WEFT_CHECK(test::use_volume(disk));
  expect_sound(disk, "after use");
}

}  // namespace weft::fuzz
