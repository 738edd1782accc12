// fsck.weft itself on each golden image: what it prints and its exit status, as text and as JSON, before, during and after the repair.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/support/golden_image.h"
#include "tests/support/program.h"

namespace weft::tools {
namespace {

using fs::test::Golden;

class FsckGolden : public ::testing::Test {
 protected:
  void SetUp() override {
    all_ = fs::test::golden_images();
    ASSERT_FALSE(all_.empty()) << "images/manifest is not here: run from the top folder";
    char name[] = "/tmp/weft-golden-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override {
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  void write_image(const Golden& golden) {
    const DiskImage image = fs::test::load(golden);
    std::vector<char> bytes(image.size_bytes());
    image.read(0, std::as_writable_bytes(std::span(bytes)));
    std::ofstream(folder_ + "/" + image_name(golden), std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  // Exit status; what it says is in `said_`.
  int fsck(const Golden& golden, const std::string& options) {
    const std::string more = golden.options == "-" ? "" : golden.options + " ";
    auto end = test::run_program("fsck.weft", options + " " + more + image_name(golden), folder_);
    said_ = std::move(end.said);
    return end.status;
  }

  std::vector<Golden> all_;
  std::string folder_;
  std::string said_;
};

TEST_F(FsckGolden, IsReportedAsItsReportSaysAndRepaired) {
  for (const Golden& golden : all_) {
    SCOPED_TRACE(golden.name);
    write_image(golden);
    EXPECT_EQ(fsck(golden, "-n"), golden.fsck_status);
    EXPECT_EQ(said_, fs::test::golden_report(golden.name));
    EXPECT_EQ(fsck(golden, "-y"), golden.repair_status()) << said_;
    EXPECT_EQ(fsck(golden, "-n"), golden.repaired_status) << said_;
  }
}

TEST_F(FsckGolden, IsReportedToMachinesWithClassPlaceAndWhatIsDone) {
  for (const Golden& golden : all_) {
    SCOPED_TRACE(golden.name);
    write_image(golden);
    EXPECT_EQ(fsck(golden, "-n --json"), golden.fsck_status);
    const auto looked = nlohmann::json::parse(said_, nullptr, false);
    ASSERT_FALSE(looked.is_discarded()) << said_;
    EXPECT_EQ(looked["exit_status"], golden.fsck_status);
    EXPECT_EQ(looked["clean"], !golden.is_damaged());
    EXPECT_EQ(looked["found"], looked["findings"].size());
    for (const auto& finding : looked["findings"]) {
      EXPECT_EQ(finding["repaired"], false);
      EXPECT_EQ(finding["remedy"] == "edit", !finding["fixes"].empty()) << finding;
      EXPECT_EQ(finding["key"].is_null(), finding["fixes"].empty()) << finding;
    }
    EXPECT_EQ(fsck(golden, "-y --json"), golden.repair_status());
    const auto repaired = nlohmann::json::parse(said_, nullptr, false);
    ASSERT_FALSE(repaired.is_discarded()) << said_;
    EXPECT_EQ(repaired["exit_status"], golden.repair_status());
    EXPECT_EQ(repaired["found"], looked["found"]);
    for (const auto& finding : repaired["findings"]) {
      EXPECT_EQ(finding["repaired"], golden.repaired_status == 0) << finding;
    }
  }
}

}  // namespace
}  // namespace weft::tools
