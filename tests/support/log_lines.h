// tests/support/log_lines.h - what was logged, for tests that say which line there should be, or that would make too many.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "kernel/clock.h"
#include "kernel/log.h"

namespace weft::test {

// A clock for the log that begins a new window for each test: so many lines of others do not keep out those looked for.
class LogClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override {
    return system_clock().monotonic() + windows_ * 2 * kLogWindow;
  }
  [[nodiscard]] Timespec wall() const noexcept override { return system_clock().wall(); }
  void next_window() { ++windows_; }

 private:
  int windows_ = 0;
};

// Keeps what is logged while it lives; behind it lines go to stderr again.
class LogLines {
 public:
  LogLines() : fd_(::memfd_create("log", MFD_CLOEXEC)) {
    static LogClock clock;
    clock.next_window();
    set_log_clock(clock);
    log_to(fd_);
  }
  ~LogLines() {
    log_to(STDERR_FILENO);
    ::close(fd_);
  }
  LogLines(const LogLines&) = delete;
  LogLines& operator=(const LogLines&) = delete;
  [[nodiscard]] std::string text() const {
    std::string out(static_cast<std::size_t>(::lseek(fd_, 0, SEEK_END)), '\0');
    EXPECT_EQ(::pread(fd_, out.data(), out.size(), 0), static_cast<ssize_t>(out.size()));
    return out;
  }

 private:
  int fd_;
};

}  // namespace weft::test
