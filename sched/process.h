// sched/process.h - starts programs, talks to them, and waits for their end without blocking a thread.
//
//   auto done = TRY(sched::run_process({.arguments = {"git", "status"}}, {}, Deadline::after(10s)));
//   if (done.status.exit_code != 0) ... done.error_output ...
//
//   auto process = TRY(sched::Process::start({.arguments = {"cat"}, .input = Stdio::pipe(), .output = Stdio::pipe()}));
//   TRY(process.input().write_all(text)); process.input().close(); ... process.output().read_some(...) ... process.wait()
//
// The program gets the three standard descriptors and no other, default signal actions and no blocked signals. It is waited for by its pidfd alone: other children, and others who wait for theirs, are not touched. One
// who reaps all children of the process (waitpid(-1), SIGCHLD ignored) takes the status away: kNotFound.
//
// Parks: start() for the time of the exec, reads, writes, wait(), the destructor. kTimedOut, kCancelled. All from any fiber or
// thread, one at a time for a Process; its pipes may be used meanwhile. kUnsupported in a Simulation, and before Linux 5.4.
// Tests: tests/sched/process_test.cc.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel/result.h"
#include "sched/deadline.h"
#include "sched/descriptor.h"

namespace weft::sched {

// What a standard descriptor of the program is.
class Stdio {
 public:
  static Stdio inherit() noexcept { return Stdio(Kind::kInherit, -1); }              // ours
  static Stdio null() noexcept { return Stdio(Kind::kNull, -1); }                    // /dev/null
  static Stdio pipe() noexcept { return Stdio(Kind::kPipe, -1); }                    // a pipe to us
  static Stdio descriptor(int fd) noexcept { return Stdio(Kind::kDescriptor, fd); }  // stays the caller's
  // Of the error output: where the output goes.
  static Stdio as_output() noexcept { return Stdio(Kind::kAsOutput, -1); }

 private:
  friend class Process;
  enum class Kind : std::uint8_t { kInherit, kNull, kPipe, kDescriptor, kAsOutput };
  Stdio(Kind kind, int fd) noexcept : kind_(kind), fd_(fd) {}
  Kind kind_;
  int fd_;
};

struct ProcessOptions {
  // The program and its arguments. A name without a slash is looked for in PATH; a relative path from working_directory.
  std::vector<std::string> arguments;
  // NAME=VALUE; none: ours.
  std::optional<std::vector<std::string>> environment = std::nullopt;
  std::string working_directory = {};  // empty: ours
  Stdio input = Stdio::null();
  Stdio output = Stdio::inherit();
  Stdio error_output = Stdio::inherit();
  // A process group of its own, which signals from the terminal do not reach; kill() then reaches the whole group.
  bool own_group = false;
};

struct ExitStatus {
  int exit_code = -1;  // -1 if a signal ended it
  int signal = 0;      // 0 if it exited
  bool core_dumped = false;
  [[nodiscard]] bool success() const noexcept { return exit_code == 0; }
  // "exit code 3", "signal 9 (Killed)"
  [[nodiscard]] std::string to_text() const;
};

// Our end of a pipe. Ends with its owner.
class PipeStream {
 public:
  PipeStream() noexcept = default;
  explicit PipeStream(io::Descriptor descriptor) noexcept : descriptor_(std::move(descriptor)) {}
  [[nodiscard]] bool is_open() const noexcept { return static_cast<bool>(descriptor_); }
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }
  // 0: the end. kClosed if there is no such pipe, or it has been closed here.
  Result<std::size_t> read_some(std::span<std::byte> into, Deadline deadline = Deadline::never());
  // All to the end, at most `limit_bytes`: kFileTooBig.
  Result<std::string> read_to_end(std::size_t limit_bytes, Deadline deadline = Deadline::never());
  // kClosed (EPIPE) when nobody reads any more; no SIGPIPE, on a plain thread neither.
  Status write_all(std::span<const std::byte> from, Deadline deadline = Deadline::never());
  // The other end sees the end.
  void close() noexcept { descriptor_.reset(); }

 private:
  io::Descriptor descriptor_;
};

class Process {
 public:
  // kNotFound, kAccessDenied and so on when the program cannot be run: the message names it.
  static Result<Process> start(const ProcessOptions& options);
  Process() noexcept = default;  // none; to be assigned to
  Process(Process&& other) noexcept = default;
  // The one assigned to must have been waited for, or be none.
  Process& operator=(Process&& other) noexcept;
  // Kills it (SIGKILL) if it still runs, and waits for its end: no zombie is left.
  ~Process();

  [[nodiscard]] pid_t id() const noexcept { return id_; }
  // Those that were asked for as Stdio::pipe(); the others are not open.
  PipeStream& input() noexcept { return input_; }
  PipeStream& output() noexcept { return output_; }
  PipeStream& error_output() noexcept { return error_output_; }

  // Its end. May be called again and gives the same.
  Result<ExitStatus> wait(Deadline deadline = Deadline::never());
  // Sends a signal; to nobody else, however late. kNotFound: it has ended.
  Status kill(int signal);

 private:
  Status reap(bool may_wait_long, Deadline deadline);

  pid_t id_ = -1;
  bool own_group_ = false;
  io::Descriptor pidfd_;
  PipeStream input_;
  PipeStream output_;
  PipeStream error_output_;
  std::optional<ExitStatus> status_;
};

struct FinishedProcess {
  ExitStatus status;
  std::string output;
  std::string error_output;
};
// Runs a program to its end: writes `input` to it and keeps what it says on both outputs, at most `limit_bytes` each
// (kFileTooBig). At the deadline, and when the fiber is asked to stop, it is killed. Of `options`, how output and input go is
// not looked at.
Result<FinishedProcess> run_process(ProcessOptions options, std::span<const std::byte> input = {},
                                    Deadline deadline = Deadline::never(), std::size_t limit_bytes = 64U << 20);

}  // namespace weft::sched
