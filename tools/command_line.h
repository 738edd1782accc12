// tools/command_line.h - what all of Weft's commands say and do alike: sizes, errors, progress.
//
//   *_weft.cc, weft_*.cc  ->  [command_line]  ->  the terminal
//
// Thread-safe but for ProgressBar, which belongs to one thread. Never parks. Tests: tests/tools/command_line_test.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel/result.h"

namespace weft::tools {

inline constexpr std::string_view kVersion = WEFT_VERSION;

// "4096", "64K", "1.5G", "8MiB", "2T": powers of 1024. kInvalid for anything else, and for what does not fit 63 bits.
Result<std::uint64_t> parse_size(std::string_view text);

// "1.5 GiB", "512 B": for people.
std::string format_size(std::uint64_t bytes);

// "PROGRAM: message" on standard error.
void complain(std::string_view program, std::string_view message);
inline void complain(std::string_view program, const Error& error) { complain(program, error.message()); }

// One line on standard error, redrawn at most ten times a second, gone when the work is done. Nothing at all where
// standard error is no terminal, unless it is asked for.
class ProgressBar {
 public:
  enum class When : std::uint8_t { kOnTerminal, kAlways, kNever };

  ProgressBar(std::string title, When when);
  ~ProgressBar() { finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void update(std::uint64_t done, std::uint64_t total);
  void finish();

 private:
  std::string title_;
  bool enabled_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point drawn_;
};

}  // namespace weft::tools
