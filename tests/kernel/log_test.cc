#include "kernel/log.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <string>

namespace weft {
namespace {

struct Log : testing::Test {
  std::array<int, 2> ends{};
  void SetUp() override {
    ASSERT_EQ(pipe(ends.data()), 0);
    log_to(ends[1]);
    set_log_level(LogLevel::kInfo);
  }
  void TearDown() override {
    log_to(STDERR_FILENO);
    set_log_level(LogLevel::kInfo);
    close(ends[0]);
    close(ends[1]);
  }
  std::string written() {
    std::array<char, 4096> text{};
    const ssize_t count = read(ends[0], text.data(), text.size());
    return {text.data(), count > 0 ? static_cast<std::size_t>(count) : 0};
  }
};

TEST_F(Log, LineCarriesLevelAndMessage) {
  log_warning("journal: %d of %d blocks\nunreadable", 1, 2);
  EXPECT_EQ(written(), "weft: warning: journal: 1 of 2 blocks unreadable\n");
}

TEST_F(Log, WhatIsBelowTheLevelIsNeitherWrittenNorEvaluated) {
  int evaluated = 0;
  log_debug("%d", ++evaluated);
  EXPECT_EQ(evaluated, 0);
  set_log_level(LogLevel::kDebug);
  log_debug("%d", ++evaluated);
  EXPECT_EQ(written(), "weft: debug: 1\n");
}

TEST_F(Log, LongLineIsCutAndStillEnds) {
  log_error("%s", std::string(5000, 'x').c_str());
  const std::string line = written();
  EXPECT_LE(line.size(), 1024U);
  EXPECT_GE(line.size(), 1000U);
  EXPECT_EQ(line.back(), '\n');
}

}  // namespace
}  // namespace weft
