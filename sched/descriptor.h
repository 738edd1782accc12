// sched/descriptor.h - owns a file descriptor: closes it at the end of its life, exactly once.
//
// A value for one owner, as a unique_ptr. Close it only when no call on it is in progress: the number may be another file's
// by then (for sockets: shutdown() ends the calls, join them, then destroy). Closing does not park; it may block for a moment
// where close(2) does. Tests: tests/sched/descriptor_test.cc.
#pragma once

#include <utility>

#include "kernel/result.h"

namespace weft::sched::io {

class Descriptor {
 public:
  Descriptor() noexcept = default;
  explicit Descriptor(int fd) noexcept : fd_(fd) {}  // takes it over; -1: none
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~Descriptor() { reset(); }

  [[nodiscard]] int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  // Gives it away.
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }
  // Closes it, if there is one.
  void reset() noexcept;
  // Another descriptor of the same open file, close-on-exec.
  [[nodiscard]] Result<Descriptor> duplicate() const;

 private:
  int fd_ = -1;
};

struct PipeEnds {
  Descriptor read;
  Descriptor write;
};
// Close-on-exec; for read_some() and write_some() of io.h.
Result<PipeEnds> make_pipe();

}  // namespace weft::sched::io
