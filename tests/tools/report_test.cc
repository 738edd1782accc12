#include "tools/report.h"

#include <gtest/gtest.h>

namespace weft::tools {
namespace {

TEST(Report, ShowsFieldsInColumnsWithOffsetsAndNotes) {
  Report report("superblock");
  report.at(12, "version", std::uint64_t{1}).at(120, "block_count", std::uint64_t{1024}, "4 MiB").add("clean", true);
  EXPECT_EQ(report.text(),
            "superblock\n"
            "    12  version      1\n"
            "   120  block_count  1024   4 MiB\n"
            "        clean        yes\n");
  EXPECT_EQ(report.json(), R"({"title":"superblock","version":1,"block_count":1024,"clean":true})");
  EXPECT_FALSE(report.is_wrong());
}

TEST(Report, IsWrongWhenAnItemOfItIs) {
  Report report("node");
  report.list("items", {Report("good"), Report("bad").wrong("too short")});
  EXPECT_TRUE(report.is_wrong());
  EXPECT_EQ(report.text(), "node\n  items\n    good\n    bad\n      WRONG: too short\n");
  EXPECT_EQ(report.json(), R"({"title":"node","items":[{"title":"good"},{"title":"bad","wrong":["too short"]}]})");
}

TEST(Report, KeepsFieldsForProgramsOutOfTheText) {
  EXPECT_EQ(Report("line").hidden("n", std::uint64_t{1}).text(), "line\n");
  EXPECT_EQ(Report("line").hidden("n", std::uint64_t{1}).json(), R"({"title":"line","n":1})");
}

TEST(Report, NeverHandsTheTerminalWhatADiskSays) {
  EXPECT_EQ(Report("\x1b[2J").add("name", std::string("a\n"), "\xff").text(), "\\x1b[2J\n  name  a\\x0a   \\xff\n");
}

TEST(Report, GivesJsonForAnyBytes) { EXPECT_EQ(Report("a\xff\"").json(), "{\"title\":\"a\xef\xbf\xbd\\\"\"}"); }

}  // namespace
}  // namespace weft::tools
