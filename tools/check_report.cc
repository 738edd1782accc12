#include "tools/check_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <string_view>

#include "kernel/printable.h"

namespace weft::tools {
namespace {

using fs::check::CheckReport;
using fs::check::Finding;

// Of several hundred lines nobody reads the last.
constexpr std::size_t kMostLines = 500;

std::string plural(std::uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

int exit_status(const CheckReport& report) noexcept {
  if (report.clean()) return kClean;
  const bool corrected = std::ranges::any_of(report.findings, &Finding::repaired);
  return (corrected ? kCorrected : 0) | (report.uncorrected != 0 ? kUncorrected : 0);
}

std::string describe_report(const CheckReport& report, const ReportStyle& style) {
  if (style.json) return describe_as_json(report, style.image);
  const std::string image = printable(style.image);
  std::string out;
  for (const std::string& note : report.notes) out += fmt::format("{}: {}\n", image, note);
  if (report.replayed_records != 0 && style.verbose) {
    out += fmt::format("{}: {} in the log\n", image, plural(report.replayed_records, "record"));
  }
  std::size_t lines = 0, left_out = 0;
  for (const Finding& finding : report.findings) {
    if (finding.follow_up && finding.repaired && !style.verbose) continue;
    if (++lines > kMostLines && !style.verbose) {
      ++left_out;
      continue;
    }
    out += fmt::format("{}: {}{}\n", image, finding.message, finding.repaired ? ": repaired" : "");
  }
  if (left_out != 0) out += fmt::format("{}: {} more (-v shows all)\n", image, left_out);
  std::string verdict = "clean";
  if (report.found != 0 && report.uncorrected == 0) {
    verdict = plural(report.found, "problem") + " found and repaired";
  } else if (report.found != 0 || report.uncorrected != 0) {
    verdict = plural(report.found, "problem") + " found, " + fmt::format("{} left", report.uncorrected);
    if (!report.changed) verdict += "; nothing was changed";
  }
  out += fmt::format("{}: {}, {}, {} of {} blocks used\n", image, verdict, plural(report.inodes, "inode"),
                     report.used_blocks, report.total_blocks);
  if (style.verbose) {
    out += fmt::format("{}: {} directories, {}, {}, {} of the tree\n", image, report.directories,
                       plural(report.names, "name"), plural(report.extents, "extent"), plural(report.nodes, "node"));
  }
  return out;
}

void print_report(const CheckReport& report, const ReportStyle& style) {
  const std::string text = describe_report(report, style);
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

}  // namespace weft::tools
