// tools/landlock.h - which files the process may still open, by Linux's Landlock: a list that can be made shorter and never longer.
//
// Descriptors that are open stay what they are. What io_uring opens is held to the list, too, which no seccomp filter sees. Also gone
// are mount(2) and umount(2), tracing of other processes, TCP (Linux 6.7) and abstract Unix sockets of others (Linux 6.12).
// Tests: tests/tools/confine_test.cc.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernel/result.h"

namespace weft::tools {

class Landlock {
 public:
  // All below these folders may be read and listed; files in those be written, made, replaced and removed. A folder that is not there is
  // passed over. Errors: kUnsupported where the kernel has no Landlock, or it is switched off.
  static Result<Landlock> create(const std::vector<std::string>& read, const std::vector<std::string>& write);
  Landlock(Landlock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Landlock& operator=(Landlock&&) = delete;
  ~Landlock();

  // The calling thread from now on, and those it makes; it must have no_new_privs. 0, or an errno. Safe in a signal handler.
  [[nodiscard]] int restrict_this_thread() const noexcept;

 private:
  explicit Landlock(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

}  // namespace weft::tools
