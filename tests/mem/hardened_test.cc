#include "mem/hardened.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/mem/commands.h"

namespace weft::mem {
namespace {

using test::Outcome;

class Hardened : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(test::preload_library())) {
      GTEST_SKIP() << "libweft-mem.so is not built beside this: a sanitizer brings a malloc of its own";
    }
  }

  static Outcome run(const std::string& mode, const std::string& arguments) {
    return test::shell("WEFT_HEAP=" + mode + " LD_PRELOAD=" + test::preload_library() + " exec timeout 20 " +
                       arguments);
  }
  static std::string misuse() { return (test::build_folder() / "tests/preload/misuse").string(); }
  static std::vector<std::string> cases() {
    std::istringstream lines(run("fast", misuse()).said);
    std::vector<std::string> all;
    for (std::string line; std::getline(lines, line);) all.push_back(line);
    return all;
  }
  // Some of them, spread over all kinds and sizes; all with WEFT_HEAP_MISUSE=all (`make heap-misuse`).
  static std::vector<std::string> slice() {
    std::vector<std::string> all = cases();
    if (std::getenv("WEFT_HEAP_MISUSE") != nullptr) return all;  // NOLINT(concurrency-mt-unsafe): no threads here
    std::vector<std::string> some;
    for (std::size_t i = 0; i < all.size(); i += 9) some.push_back(all[i]);
    return some;
  }
  // Anything but 0 and an end by the time limit.
  static std::size_t stopped(const std::string& mode, std::vector<std::string>* missed) {
    std::size_t count = 0;
    for (const std::string& each : slice()) {
      const Outcome end = run(mode, misuse() + " " + each.substr(0, each.find(' ')));
      if (end.status != 0 && end.status != 124) {
        ++count;
      } else if (missed != nullptr) {
        missed->push_back(each);
      }
    }
    return count;
  }
};

TEST_F(Hardened, MisuseIsStopped) {
  EXPECT_GE(cases().size(), 100U);
  const std::size_t all = slice().size();
  std::vector<std::string> missed;
  const std::size_t hardened = stopped("hardened", &missed);
  std::printf("hardened: %zu of %zu stopped\n", hardened, all);
  for (const std::string& each : missed) std::printf("  not stopped: %s\n", each.c_str());
  // What is written into the middle of a long freed block goes unseen; of all else one may by chance.
  const auto others = std::count_if(missed.begin(), missed.end(), [](const std::string& each) {
    return each.find(" write after free of ") == std::string::npos;
  });
  EXPECT_LE(others, 1);
  EXPECT_GE(hardened, all - all / 40 - 1);
}

TEST_F(Hardened, ItIsTheModeThatStopsIt) {
  const std::size_t all = slice().size();
  const std::size_t fast = stopped("fast", nullptr);
  std::printf("fast: %zu of %zu stopped\n", fast, all);
  EXPECT_LT(fast, all / 2);
}

TEST_F(Hardened, MessagesNameTheErrorAndTheAddress) {
  std::map<std::string, std::string> said;
  for (const std::string& each : cases()) {
    if (each.find(" of 100 bytes") == std::string::npos) continue;
    const std::size_t begin = each.find(' ') + 1;
    said[each.substr(begin, each.find(" of ") - begin)] +=
        run("hardened", misuse() + " " + each.substr(0, begin - 1)).said;
  }
  EXPECT_NE(said["double free"].find("weft heap: a block was freed twice: 0x"), std::string::npos)
      << said["double free"];
  EXPECT_NE(said["overflow"].find("weft heap: a block was written to beyond its end: 0x"), std::string::npos)
      << said["overflow"];
  EXPECT_NE(said["interior free"].find("weft heap: free of an address inside a block: 0x"), std::string::npos);
  EXPECT_NE(said["write after free"].find("weft heap: a block was written to after it had been freed: 0x"),
            std::string::npos);
  EXPECT_NE(said["wrong size"].find("weft heap: a block was deleted with another size than it has: 0x"),
            std::string::npos);
  EXPECT_NE(said["realloc after free"].find("weft heap: a block was used after it had been freed: 0x"),
            std::string::npos);
}

TEST_F(Hardened, WhatIsRightGoesOn) {
  const Outcome end = run("hardened", (test::build_folder() / "tests/preload/rules").string());
  EXPECT_EQ(end.said, "0 rules are broken\n");
  // Threads that hand blocks to each other, and end; blocks that grow; all sizes.
  for (const char* load : {"containers", "exchange", "short-threads", "growing", "waves"}) {
    const Outcome done = run("hardened", (test::build_folder() / "tests/preload/load").string() + " " + load);
    EXPECT_EQ(done.status, 0) << load << ": " << done.said;
  }
}

TEST_F(Hardened, ProgramsRun) {
  const Outcome end = run("hardened", "sh -c 'printf %s $(printf \"b\\na\\nc\\n\" | sort | tr -d \"\\n\")'");
  EXPECT_EQ(end.said, "abc");
}

}  // namespace
}  // namespace weft::mem
