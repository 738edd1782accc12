#include "mem/options.h"

#include <gtest/gtest.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "tests/mem/commands.h"

namespace weft::mem {
namespace {

std::vector<std::string>& faults() {
  static std::vector<std::string> all;
  return all;
}

// The text is kept, as that of the environment is.
Options parsed(const std::string& text, bool trusted = true) {
  static std::vector<std::unique_ptr<std::string>> kept;
  kept.push_back(std::make_unique<std::string>(text));
  faults().clear();
  Options into;
  parse_options(
      std::span(kept.back()->data(), text.size() + 1), trusted, into,
      [](const char* what, std::string_view option) { faults().push_back(std::string(option) + ": " + what); });
  return into;
}

TEST(HeapOptions, NothingAsksForNothing) {
  const Options none = parsed("");
  EXPECT_TRUE(faults().empty());
  EXPECT_FALSE(none.hardened || none.sampling);
  EXPECT_EQ(none.profile, nullptr);
  EXPECT_EQ(none.hard_bytes, kNoLimit);
}

TEST(HeapOptions, AllOfThemAtOnce) {
  const Options all =
      parsed("hardened,profile=/tmp/a,sample=64k,leaks,report=/tmp/r.json,stats=/run/s,soft=1g,hard=2G");
  EXPECT_TRUE(faults().empty());
  EXPECT_TRUE(all.hardened && !all.full && all.sampling);
  const Options full = parsed("hardened=full");
  EXPECT_TRUE(full.hardened && full.full);
  EXPECT_STREQ(all.profile, "/tmp/a");
  EXPECT_EQ(all.sample_bytes, 65536U);
  EXPECT_STREQ(all.leaks, "");
  EXPECT_STREQ(all.report, "/tmp/r.json");
  EXPECT_STREQ(all.stats, "/run/s");
  EXPECT_EQ(all.soft_bytes, std::size_t{1} << 30);
  EXPECT_EQ(all.hard_bytes, std::size_t{2} << 30);
}

TEST(HeapOptions, ThePurgeThreadIsOnOffOrAuto) {
  EXPECT_EQ(parsed("").purge_thread, PurgeThread::kAuto);
  EXPECT_EQ(parsed("purge_thread=on").purge_thread, PurgeThread::kOn);
  EXPECT_EQ(parsed("purge_thread=off").purge_thread, PurgeThread::kOff);
  EXPECT_EQ(parsed("purge_thread=off,purge_thread=auto").purge_thread, PurgeThread::kAuto);
  EXPECT_TRUE(faults().empty());
  for (const char* wrong : {"purge_thread", "purge_thread=", "purge_thread=yes"}) {
    EXPECT_EQ(parsed(wrong).purge_thread, PurgeThread::kAuto);
    ASSERT_EQ(faults().size(), 1U) << wrong;
    EXPECT_EQ(faults()[0], std::string(wrong) + ": is auto, on or off");
  }
}

TEST(HeapOptions, WhatIsNotUnderstoodIsNamedAndTheRestHolds) {
  const Options some = parsed("harden,hard=64m,profile=/tmp/p");
  ASSERT_EQ(faults().size(), 1U);
  EXPECT_EQ(faults()[0], "harden: no such option");
  EXPECT_FALSE(some.hardened);
  EXPECT_EQ(some.hard_bytes, std::size_t{64} << 20);
  EXPECT_STREQ(some.profile, "/tmp/p");
}

TEST(HeapOptions, BrokenSizesAndMissingPathsAreFaults) {
  for (const char* text : {"hard=", "hard", "hard=0", "hard=x", "hard=12q", "hard=1kk", "hard=-1", "sample=1.5g",
                           "soft=99999999999999999999", "hard=99999999999t"}) {
    const Options none = parsed(text);
    ASSERT_EQ(faults().size(), 1U) << text;
    EXPECT_NE(faults()[0].find("needs a size"), std::string::npos) << faults()[0];
    EXPECT_EQ(none.hard_bytes, kNoLimit);
    EXPECT_EQ(none.soft_bytes, kNoLimit);
  }
  for (const char* text : {"report", "report=", "stats="}) {
    parsed(text);
    ASSERT_EQ(faults().size(), 1U) << text;
    EXPECT_NE(faults()[0].find("needs a path"), std::string::npos);
  }
  parsed("hardened=yes");
  EXPECT_EQ(faults(), std::vector<std::string>{"hardened=yes: has no level but full"});
}

TEST(HeapOptions, ASoftLimitAboveTheHardOneIsSaid) {
  parsed("hard=1g,soft=2g");
  ASSERT_EQ(faults().size(), 1U);
  EXPECT_EQ(faults()[0], "soft: is more than hard=, so that it is never reached");
}

TEST(HeapOptions, AProgramWithMoreRightsThanItsCallerWritesNoFiles) {
  const Options few = parsed("hardened,report=/etc/passwd,profile=/x,leaks,stats=/y,hard=1g", false);
  EXPECT_EQ(faults().size(), 4U);
  EXPECT_TRUE(few.hardened);
  EXPECT_EQ(few.report, nullptr);
  EXPECT_EQ(few.profile, nullptr);
  EXPECT_EQ(few.leaks, nullptr);
  EXPECT_EQ(few.stats, nullptr);
  EXPECT_EQ(few.hard_bytes, std::size_t{1} << 30);
}

TEST(HeapOptions, TheProcessStandsInAPath) {
  std::array<char, 64> path{};
  ASSERT_TRUE(expand_path("/tmp/%p.heap", 4711, path));
  EXPECT_EQ(std::string(path.data()), "/tmp/4711.heap");
  std::array<char, 6> little{};
  EXPECT_FALSE(expand_path("/tmp/%p.heap", 4711, little));
  EXPECT_TRUE(expand_path("/tmp/", 4711, little));
}

TEST(HeapOptions, APreloadedProgramSaysAtItsStartWhatItDoesNotUnderstand) {
  if (!std::filesystem::exists(test::preload_library())) GTEST_SKIP() << "libweft-mem.so is not built beside this";
  const auto with = [](const std::string& options) {
    return test::shell("WEFT_HEAP=" + options + " LD_PRELOAD=" + test::preload_library() + " /bin/echo hello");
  };
  EXPECT_EQ(with("fast,soft=1g,report=/dev/null").said, "hello\n");
  const test::Outcome broken = with("hadrened,hard=lots");
  EXPECT_EQ(broken.status, 0);
  EXPECT_NE(broken.said.find("weft heap: WEFT_HEAP: 'hadrened': no such option; known are hardened[=full], "),
            std::string::npos)
      << broken.said;
  EXPECT_NE(broken.said.find("weft heap: WEFT_HEAP: 'hard=lots': needs a size"), std::string::npos) << broken.said;
  EXPECT_TRUE(broken.said.ends_with("hello\n"));
  const test::Outcome too_long = with("report=/" + std::string(5000, 'a'));
  EXPECT_NE(too_long.said.find("is too long, nothing of it holds"), std::string::npos) << too_long.said;
  EXPECT_TRUE(too_long.said.ends_with("hello\n"));
}

}  // namespace
}  // namespace weft::mem
