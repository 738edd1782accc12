// tools/check_report.h - says what fsck.weft has found: in lines for people, or as one JSON object.
//
//   fsck_weft -> [check_report, check_json] -> standard output
//
// Messages hold nothing that a terminal acts on (fs/check/finding.h: quoted()); the name of the image is made so here. What the JSON
// object has: tools/man/fsck.weft.8. Blocks the thread for standard output. Tests: tests/tools/check_report_test.cc,
// tests/tools/fsck_golden_test.cc.
#pragma once

#include <string>
#include <string_view>

#include "fs/check/check.h"

namespace weft::tools {

// Of fsck(8), to be added up.
inline constexpr int kClean = 0;
inline constexpr int kCorrected = 1;
inline constexpr int kUncorrected = 4;
inline constexpr int kOperationalError = 8;

struct ReportStyle {
  std::string image;
  bool json = false;
  bool verbose = false;
};

[[nodiscard]] int exit_status(const fs::check::CheckReport& report) noexcept;

// The last line is the sum of it: "disk.img: clean, 12 inodes, 310 of 2048 blocks used".
std::string describe_report(const fs::check::CheckReport& report, const ReportStyle& style);
void print_report(const fs::check::CheckReport& report, const ReportStyle& style);

// -- check_json.cc
std::string describe_as_json(const fs::check::CheckReport& report, std::string_view image);
// Where there is no report: what kept fsck.weft from making one.
std::string describe_failure_as_json(std::string_view image, std::string_view error, int status);

}  // namespace weft::tools
