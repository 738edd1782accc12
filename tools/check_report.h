// tools/check_report.h - says what fsck.weft has found: in lines for people, or as one JSON object.
//
// Blocks the thread for standard output. Tests: tests/tools/fsck_test.cc.
#pragma once

#include <string>

#include "fs/check/check.h"

namespace weft::tools {

struct ReportStyle {
  std::string image;
  bool json = false;
  bool verbose = false;
};

// The last line is the sum of it: "disk.img: clean, 12 inodes, 310 of 2048 blocks used".
std::string describe_report(const fs::check::CheckReport& report, const ReportStyle& style);
void print_report(const fs::check::CheckReport& report, const ReportStyle& style);

}  // namespace weft::tools
