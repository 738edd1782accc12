#include "tools/check_report.h"

#include <fmt/format.h>

#include <cstdio>
#include <string_view>

namespace weft::tools {
namespace {

using fs::check::CheckReport;
using fs::check::Finding;

// Of several hundred lines nobody reads the last.
constexpr std::size_t kMostLines = 500;

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    if (letter == '"' || letter == '\\') {
      out += '\\';
      out += letter;
    } else if (byte < 0x20) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += letter;
    }
  }
  return out + '"';
}

std::string describe_as_json(const CheckReport& report, const ReportStyle& style) {
  std::string out = fmt::format("{{\n  \"image\": {},\n  \"clean\": {},\n  \"found\": {},\n  \"uncorrected\": {},\n",
                                json_string(style.image), report.clean(), report.found, report.uncorrected);
  out += fmt::format("  \"changed\": {},\n  \"rounds\": {},\n  \"replayed_records\": {},\n", report.changed,
                     report.rounds, report.replayed_records);
  out += fmt::format(
      "  \"inodes\": {},\n  \"directories\": {},\n  \"names\": {},\n  \"extents\": {},\n  \"nodes\": {},\n"
      "  \"used_blocks\": {},\n  \"total_blocks\": {},\n",
      report.inodes, report.directories, report.names, report.extents, report.nodes, report.used_blocks,
      report.total_blocks);
  out += "  \"notes\": [";
  for (std::size_t i = 0; i < report.notes.size(); ++i) {
    out += fmt::format("{}{}", i == 0 ? "" : ", ", json_string(report.notes[i]));
  }
  out += "],\n  \"findings\": [";
  for (std::size_t i = 0; i < report.findings.size(); ++i) {
    const Finding& finding = report.findings[i];
    out += fmt::format(
        "{}\n    {{\"class\": \"{}\", \"inode\": {}, \"block\": {}, \"message\": {}, \"repaired\": {}, \"follow_up\": "
        "{}}}",
        i == 0 ? "" : ",", fs::check::name_of(finding.problem), finding.inode.value(), finding.block.value(),
        json_string(finding.message), finding.repaired, finding.follow_up);
  }
  return out + (report.findings.empty() ? "]\n}\n" : "\n  ]\n}\n");
}

std::string plural(std::uint64_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

std::string describe_report(const CheckReport& report, const ReportStyle& style) {
  if (style.json) return describe_as_json(report, style);
  std::string out;
  for (const std::string& note : report.notes) out += fmt::format("{}: {}\n", style.image, note);
  if (report.replayed_records != 0 && style.verbose) {
    out += fmt::format("{}: {} in the log\n", style.image, plural(report.replayed_records, "record"));
  }
  std::size_t lines = 0, left_out = 0;
  for (const Finding& finding : report.findings) {
    if (finding.follow_up && finding.repaired && !style.verbose) continue;
    if (++lines > kMostLines && !style.verbose) {
      ++left_out;
      continue;
    }
    out += fmt::format("{}: {}{}\n", style.image, finding.message, finding.repaired ? ": repaired" : "");
  }
  if (left_out != 0) out += fmt::format("{}: {} more (-v shows all)\n", style.image, left_out);
  std::string verdict = "clean";
  if (report.found != 0 && report.uncorrected == 0) {
    verdict = plural(report.found, "problem") + " found and repaired";
  } else if (report.found != 0 || report.uncorrected != 0) {
    verdict = plural(report.found, "problem") + " found, " + fmt::format("{} left", report.uncorrected);
    if (!report.changed) verdict += "; nothing was changed";
  }
  out += fmt::format("{}: {}, {}, {} of {} blocks used\n", style.image, verdict, plural(report.inodes, "inode"),
                     report.used_blocks, report.total_blocks);
  if (style.verbose) {
    out += fmt::format("{}: {} directories, {}, {}, {} of the tree\n", style.image, report.directories,
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
