#include "kernel/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "kernel/check.h"
#include "kernel/clock.h"

namespace weft {
namespace {

struct HandClock final : Clock {
  std::chrono::nanoseconds now{};
  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override { return now; }
  [[nodiscard]] Timespec wall() const noexcept override { return {}; }
};

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
  // All of it, when the pipe is known to hold something.
  std::string written_so_far() {
    std::string all;
    for (std::array<char, 65536> text{};;) {
      fcntl(ends[0], F_SETFL, O_NONBLOCK);
      const ssize_t count = read(ends[0], text.data(), text.size());
      fcntl(ends[0], F_SETFL, 0);
      if (count <= 0) return all;
      all.append(text.data(), static_cast<std::size_t>(count));
    }
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

TEST_F(Log, FloodFromOnePlaceIsHeldBackAndCountedAndOthersAreNot) {
  static HandClock clock;
  set_log_clock(clock);
  const auto lines_in = [](const std::string& text) { return std::ranges::count(text, '\n'); };
  const auto complain = [](unsigned block) { log_error("block %u is unreadable", block); };
  for (unsigned i = 0; i < kLogBurst + 1000; ++i) complain(i);
  log_warning("something else");
  const std::string first = written_so_far();
  EXPECT_EQ(lines_in(first), kLogBurst + 1);
  EXPECT_TRUE(first.ends_with("block 199 is unreadable\nweft: warning: something else\n")) << first;
  clock.now += kLogWindow;
  complain(7);
  EXPECT_EQ(written_so_far(),
            "weft: error: 1000 lines like the next one were left out\n"
            "weft: error: block 7 is unreadable\n");
  complain(8);
  EXPECT_EQ(written_so_far(), "weft: error: block 8 is unreadable\n");
  for (unsigned i = 0; i < 2 * kLogBurst; ++i) log_info("asked for: %u", i);
  EXPECT_EQ(lines_in(written_so_far()), 2 * kLogBurst) << "what somebody asked for is told in full";
  set_log_clock(system_clock());
}

TEST_F(Log, BrokenInvariantIsToldToItsReaderToo) {
  const int log_end = ends[1];
  EXPECT_DEATH(
      {
        log_to(log_end);
        check_failed("1 == 2", "somewhere.cc", 7);
      },
      "1 == 2 does not hold .somewhere.cc:7");
  EXPECT_EQ(written_so_far(), "weft: error: internal error: 1 == 2 does not hold (somewhere.cc:7)\n");
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
