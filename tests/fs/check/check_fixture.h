// tests/fs/check/check_fixture.h - checks what is on a disk, and damages it on purpose.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "fs/check/check.h"
#include "kernel/memory_disk.h"
#include "tests/support/mounted.h"

namespace weft::fs::test {

inline std::string text_of(const check::CheckReport& report) {
  std::string out;
  for (const check::Finding& finding : report.findings) {
    out += std::string(check::name_of(finding.problem)) + ": " + finding.message +
           (finding.repaired ? " (repaired)\n" : "\n");
  }
  return out;
}

// What is wrong with the content of the disk as it is now, without changing it; empty: nothing.
inline std::string problems_of(const DiskImage& image) {
  MemoryDisk disk(image);
  const auto report = check::check_volume(disk, {});
  if (!report) return "error: " + report.error().message();
  return text_of(*report);
}

}  // namespace weft::fs::test
