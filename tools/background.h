// tools/background.h - a program that goes to the background only when its work has begun, and tells how that went.
//
//   auto background = TRY(Background::fork_off());     before any thread exists
//   ... the hard part ...
//   background.report(0, "");                          the parent exits with that status and message
//
// The parent waits; if the child dies without a word, it says so. One thread.
#pragma once

#include <string_view>
#include <utility>

#include "kernel/result.h"

namespace weft::tools {

class Background {
 public:
  // For the foreground: report() then only prints.
  Background() = default;
  // Returns in the child, in a session of its own with / as its folder. The parent never returns.
  static Result<Background> fork_off(std::string_view program);
  Background(Background&& other) noexcept
      : pipe_(std::exchange(other.pipe_, -1)), null_(std::exchange(other.null_, -1)) {}
  Background& operator=(Background&& other) noexcept {
    std::swap(pipe_, other.pipe_);
    std::swap(null_, other.null_);
    return *this;
  }
  ~Background();

  // Ends the parent with `exit_status`, after printing `message` (unless empty) to its standard error. With status 0 standard input,
  // output and error of this process become /dev/null.
  void report(int exit_status, std::string_view message);
  // The latter alone.
  void leave_terminal();
  // In a child of this process: whether the work has begun is for the parent to say.
  void leave_report_to_parent();

 private:
  int pipe_ = -1;
  int null_ = -1;  // opened early: who reports may not be let open files any more
};

}  // namespace weft::tools
