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
  static std::string aligned() { return (test::build_folder() / "tests/preload/aligned").string(); }
  static std::map<std::string, std::string> said_in(const std::string& mode);
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

// What is known to go unseen; of all else one may by chance.
template <typename Known>
void expect_stopped(const char* mode, std::size_t stopped, std::size_t all, std::size_t at_least,
                    const std::vector<std::string>& missed, const Known& known) {
  std::printf("%s: %zu of %zu stopped\n", mode, stopped, all);
  for (const std::string& each : missed) std::printf("  not stopped: %s\n", each.c_str());
  EXPECT_LE(std::count_if(missed.begin(), missed.end(), [&](const std::string& each) { return !known(each); }), 1);
  EXPECT_GE(stopped, at_least);
}

bool says(const std::string& each, const char* what) { return each.find(what) != std::string::npos; }

TEST_F(Hardened, MisuseIsStopped) {
  EXPECT_GE(cases().size(), 100U);
  const std::size_t all = slice().size();
  std::vector<std::string> missed;
  const std::size_t count = stopped("hardened", &missed);
  // Where a block begins and where the next one's mark is, but not between: a write after free, a text that is still there, and who
  // writes beyond the end but not beyond the rounding of a block of at most a kilobyte.
  expect_stopped("hardened", count, all, all - all / 10 - 2, missed, [](const std::string& each) {
    return says(each, " write after free of ") || says(each, " read after free of ") || says(each, " zero size of ") ||
           says(each, " of 100 bytes") || says(each, " of 500 bytes");
  });
}

TEST_F(Hardened, InFullNearlyAllMisuseIsStopped) {
  const std::size_t all = slice().size();
  std::vector<std::string> missed;
  const std::size_t count = stopped("hardened=full", &missed);
  // What is written into the middle of a long freed block.
  expect_stopped("hardened=full", count, all, all - all / 40 - 1, missed,
                 [](const std::string& each) { return says(each, " write after free of "); });
}

TEST_F(Hardened, ItIsTheModeThatStopsIt) {
  const std::size_t all = slice().size();
  const std::size_t fast = stopped("fast", nullptr);
  std::printf("fast: %zu of %zu stopped\n", fast, all);
  EXPECT_LT(fast, all / 2);
}

// What is said of each kind of misuse of a hundred bytes.
std::map<std::string, std::string> Hardened::said_in(const std::string& mode) {
  std::map<std::string, std::string> said;
  for (const std::string& each : cases()) {
    if (each.find(" of 100 bytes") == std::string::npos) continue;
    const std::size_t begin = each.find(' ') + 1;
    said[each.substr(begin, each.find(" of ") - begin)] += run(mode, misuse() + " " + each.substr(0, begin - 1)).said;
  }
  return said;
}

TEST_F(Hardened, MessagesNameTheErrorAndTheAddress) {
  for (const std::string mode : {"hardened", "hardened=full"}) {
    std::map<std::string, std::string> said = said_in(mode);
    const auto expect = [&](const std::string& kind, const std::string& message) {
      EXPECT_NE(said[kind].find("weft heap: " + message + ": 0x"), std::string::npos) << mode << ": " << said[kind];
    };
    expect("double free", "a block was freed twice");
    expect("interior free", "free of an address inside a block");
    expect("write after free", "a block was written to after it had been freed");
    expect("wrong size", "a block was deleted with another size than it has");
    expect("realloc after free", "a block was used after it had been freed");
    expect("underflow", "a block was written to beyond its end, or the next one before its beginning");
    expect(mode == "hardened" ? "underflow" : "overflow",
           mode == "hardened" ? "a block was written to beyond its end, or the next one before its beginning"
                              : "a block was written to beyond its end");
  }
}

TEST_F(Hardened, AlignedBlocksAreLookedAtAsOthers) {
  for (const std::string mode : {"hardened", "hardened=full"}) {
    EXPECT_EQ(run(mode, aligned() + " right").said, "right\n") << mode;
    EXPECT_NE(run(mode, aligned() + " twice").said.find("weft heap: "), std::string::npos) << mode;
    EXPECT_NE(run(mode, aligned() + " before").said.find("weft heap: "), std::string::npos) << mode;
    EXPECT_NE(run(mode, aligned() + " beyond").said.find("weft heap: "), std::string::npos) << mode;
  }
}

TEST_F(Hardened, WhatIsRightGoesOn) {
  for (const std::string mode : {"hardened", "hardened=full"}) {
    const Outcome end = run(mode, (test::build_folder() / "tests/preload/rules").string());
    EXPECT_EQ(end.said, "0 rules are broken\n") << mode;
    // Threads that hand blocks to each other, and end; blocks that grow; all sizes.
    for (const char* load : {"containers", "exchange", "short-threads", "growing", "waves"}) {
      const Outcome done = run(mode, (test::build_folder() / "tests/preload/load").string() + " " + load);
      EXPECT_EQ(done.status, 0) << mode << " " << load << ": " << done.said;
    }
  }
}

TEST_F(Hardened, ProgramsRun) {
  const Outcome end = run("hardened", "sh -c 'printf %s $(printf \"b\\na\\nc\\n\" | sort | tr -d \"\\n\")'");
  EXPECT_EQ(end.said, "abc");
}

}  // namespace
}  // namespace weft::mem
