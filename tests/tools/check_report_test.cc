// What fsck.weft says: lines that a terminal only shows, JSON that any reader takes.
#include "tools/check_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace weft::tools {
namespace {

using fs::InodeNo;
using fs::Key;
using fs::KeyKind;
using fs::check::CheckReport;
using fs::check::Finding;
using fs::check::Fix;
using fs::check::InodeField;
using fs::check::Problem;

constexpr const char* kHostile = "\x1b[2J\n\"\\\xff\xc2\x9b";

CheckReport report_with(std::vector<Finding> findings) {
  CheckReport report;
  report.found = findings.size();
  report.uncorrected = findings.size();
  for (const Finding& finding : findings) report.uncorrected -= finding.repaired;
  report.findings = std::move(findings);
  return report;
}

Finding finding_of(Problem problem, std::vector<Fix> fixes, bool repaired = false) {
  return {.problem = problem,
          .inode = InodeNo(7),
          .block = {},
          .message = "inode 7: " + fs::check::quoted(kHostile),
          .fixes = std::move(fixes),
          .repaired = repaired};
}

nlohmann::json parsed(const CheckReport& report, const std::string& image = "disk.img") {
  return nlohmann::json::parse(describe_report(report, {.image = image, .json = true}));
}

TEST(CheckReport, HasTheExitStatusOfFsck) {
  EXPECT_EQ(exit_status(report_with({})), 0);
  EXPECT_EQ(exit_status(report_with({finding_of(Problem::kName, {}, true)})), 1);
  EXPECT_EQ(exit_status(report_with({finding_of(Problem::kName, {})})), 4);
  EXPECT_EQ(exit_status(report_with({finding_of(Problem::kName, {}, true), finding_of(Problem::kName, {})})), 5);
}

TEST(CheckReport, NamesClassPlaceAndWhatIsDoneInJson) {
  const Key name(InodeNo(7), KeyKind::kDirent, 12345);
  const auto json = parsed(report_with(
      {finding_of(Problem::kName,
                  {fs::check::erase_of(name), {.kind = Fix::Kind::kAddName, .key = name, .number = 9, .bytes = {}}},
                  true),
       finding_of(Problem::kLinkCount, {fs::check::set_field(InodeNo(7), InodeField::kLinks, 3)}),
       finding_of(Problem::kBitmap, {})}));
  EXPECT_EQ(json["image"], "disk.img");
  EXPECT_EQ(json["exit_status"], 5);
  EXPECT_EQ(json["clean"], false);
  EXPECT_EQ(json["found"], 3);
  EXPECT_EQ(json["uncorrected"], 2);
  const auto& findings = json["findings"];
  ASSERT_EQ(findings.size(), 3u);
  EXPECT_EQ(findings[0]["class"], "name");
  EXPECT_EQ(findings[0]["inode"], 7);
  EXPECT_EQ(findings[0]["block"], 0);
  EXPECT_EQ(findings[0]["repaired"], true);
  EXPECT_EQ(findings[0]["follow_up"], false);
  EXPECT_EQ(findings[0]["remedy"], "edit");
  EXPECT_EQ(findings[0]["key"], nlohmann::json::parse(R"({"object": 7, "kind": "dirent", "offset": 12345})"));
  EXPECT_EQ(findings[0]["fixes"][0]["edit"], "erase");
  EXPECT_EQ(findings[0]["fixes"][0]["key"], findings[0]["key"]);
  EXPECT_EQ(findings[0]["fixes"][1]["edit"], "add-name");
  EXPECT_EQ(findings[0]["fixes"][1]["value"], 9);
  EXPECT_EQ(findings[1]["fixes"], nlohmann::json::parse(R"([{"edit": "set-field",
      "key": {"object": 7, "kind": "inode", "offset": 0}, "field": "links", "value": 3}])"));
  EXPECT_EQ(findings[2]["class"], "bitmap");
  EXPECT_EQ(findings[2]["remedy"], "rewrite");
  EXPECT_TRUE(findings[2]["key"].is_null());
  EXPECT_TRUE(findings[2]["fixes"].empty());
}

TEST(CheckReport, IsValidJsonWhateverNamesHold) {
  const auto json = parsed(report_with({finding_of(Problem::kName, {})}), std::string("/tmp/") + kHostile);
  EXPECT_EQ(json["findings"][0]["message"], R"(inode 7: "\x1b[2J\x0a\x22\\\xff\xc2\x9b")");
  EXPECT_EQ(json["image"], "/tmp/\x1b[2J\n\"\\\xef\xbf\xbd\xc2\x9b") << "as it is, but for what is no UTF-8";
  const auto failed = nlohmann::json::parse(describe_failure_as_json(kHostile, kHostile, 8));
  EXPECT_EQ(failed["exit_status"], 8);
  EXPECT_TRUE(failed["error"].is_string());
}

TEST(CheckReport, ShowsATerminalNothingThatItActsOn) {
  CheckReport report = report_with({finding_of(Problem::kName, {})});
  report.notes = {"a note"};
  report.replayed_records = 1;
  const std::string text = describe_report(report, {.image = kHostile, .verbose = true});
  for (const char letter : text) {
    if (letter != '\n') {
      ASSERT_TRUE(letter >= 0x20 && letter < 0x7f) << text;
    }
  }
  EXPECT_EQ(text.substr(0, text.find('\n')), R"(\x1b[2J\x0a"\\\xff\xc2\x9b: a note)");
  EXPECT_EQ(std::ranges::count(text, '\n'), 5) << text;
}

TEST(CheckReport, NamesEachClassAndItsRemedy) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < fs::check::kProblems; ++i) {
    const auto problem = static_cast<Problem>(i);
    names.push_back(fs::check::name_of(problem));
    EXPECT_FALSE(names.back().empty());
    EXPECT_FALSE(fs::check::remedy_of(problem).empty());
  }
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
}

TEST(CheckReport, NamesNoClassThatTheManualDoesNotName) {
  std::ifstream file("tools/man/fsck.weft.8");
  ASSERT_TRUE(file) << "the manual is not here: run from the top folder";
  std::string manual(std::istreambuf_iterator<char>(file), {});
  std::ranges::replace(manual, '\n', ' ');
  for (std::size_t i = 0; i < fs::check::kProblems; ++i) {
    const std::string name(fs::check::name_of(static_cast<Problem>(i)));
    const bool named = manual.contains(" " + name + ", ") || manual.contains(" " + name + ". ");
    EXPECT_TRUE(named) << name;
  }
}

}  // namespace
}  // namespace weft::tools
