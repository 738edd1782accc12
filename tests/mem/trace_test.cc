// Recording a program's calls and replaying them: tests/trace/.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "tests/mem/commands.h"

namespace weft::mem {
namespace {

using test::build_folder;
using test::Outcome;
using test::shell;

class Trace : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(build_folder() / "lib/trace-record.so")) {
      GTEST_SKIP() << "trace-record.so is not built beside this: a sanitizer brings a malloc of its own";
    }
    std::string name = (std::filesystem::temp_directory_path() / "weft-trace.XXXXXX").string();
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // What convert says of the calls of this program of tests/preload/.
  std::string record(const std::string& program, const std::string& arguments) {
    const std::string path = (build_folder() / "tests/preload" / program).string();
    // (Two rules are broken by glibc's heap itself.)
    const Outcome ran = shell("WEFT_TRACE=" + folder_.string() + "/raw LD_PRELOAD=" +
                              (build_folder() / "lib/trace-record.so").string() + " " + path + " " + arguments);
    EXPECT_LT(ran.status, 3) << ran.said;
    const Outcome made = shell(replay() + " convert " + folder_.string() + "/raw." + program + ".* " + trace());
    EXPECT_EQ(made.status, 0) << made.said;
    return made.said;
  }
  static std::string replay() { return (build_folder() / "tests/trace/replay").string(); }
  std::string trace() const { return folder_.string() + "/trace"; }

  std::filesystem::path folder_;
};

TEST_F(Trace, HasEachCallOfTheProgram) {
  // 300,000 times realloc() and fifty times free(), and what the C++ library does at its start.
  const std::string said = record("load", "growing 1");
  EXPECT_GE(std::stol(said), 300050) << said;
  EXPECT_LT(std::stol(said), 300300) << said;
  EXPECT_NE(said.find(" 1 threads"), std::string::npos) << said;
}

TEST_F(Trace, IsReplayedOnAnyHeap) {
  // All functions, alignments, refusals, several threads.
  record("rules", "");
  for (const std::string& library : {std::string(), test::preload_library()}) {
    const Outcome end = shell("LD_PRELOAD=" + library + " WEFT_HEAP=report=" + folder_.string() +
                              "/report.json timeout 60 " + replay() + " run " + trace() + " 3");
    EXPECT_EQ(end.status, 0) << end.said;
    EXPECT_GT(std::stod(end.said.substr(end.said.find(' '))), 1000) << end.said;
  }
  // That it was ours, and that what the program had left was freed.
  const Outcome held = shell("tr ',' '\\n' <" + folder_.string() + "/report.json | grep large_blocks");
  EXPECT_NE(held.said.find(":0"), std::string::npos) << held.said;
}

TEST_F(Trace, WhatIsNoneIsRefused) {
  for (const char* content : {"", "weft", "wefttrc1................", "something else that is long enough"}) {
    const Outcome end =
        shell("printf %s '" + std::string(content) + "' >" + trace() + " && " + replay() + " run " + trace());
    EXPECT_EQ(end.status, 2) << content;
    EXPECT_NE(end.said.find("trace"), std::string::npos) << end.said;
  }
}

}  // namespace
}  // namespace weft::mem
