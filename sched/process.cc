#include "sched/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "kernel/check.h"
#include "sched/current.h"
#include "sched/io.h"
#include "sched/offload.h"
#include "sched/spawn.h"
#include "sched/worker.h"

namespace weft::sched {
namespace {

constexpr idtype_t kByPidfd = static_cast<idtype_t>(3);  // P_PIDFD

bool simulated() noexcept {
  Worker* worker = current_worker();
  return worker != nullptr && worker->simulated();
}

// Above the three, so that making one of them does not overwrite the source of another.
Result<io::Descriptor> above_standard(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) return fail(Error::from_errno(errno, "a standard descriptor of a process"));
  return io::Descriptor(copy);
}

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// The objects of posix_spawn(), which have destructors of their own kind.
struct SpawnPlan {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;
};

int prepare_signals(posix_spawnattr_t& attributes, bool own_group) noexcept {
  sigset_t none;
  sigset_t all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setpgroup(&attributes, 0);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (own_group) flags |= POSIX_SPAWN_SETPGROUP;
  return posix_spawnattr_setflags(&attributes, static_cast<short>(flags));
}

struct Started {
  int error = 0;
  const char* what = nullptr;
  pid_t id = -1;
  int pidfd = -1;
};

// Nobody but us reaps it, so until then the number is not another's.
Started spawn_program(const SpawnPlan& plan, char* const* arguments, char* const* environment) noexcept {
  Started started;
  started.error = posix_spawnp(&started.id, arguments[0], &plan.actions, &plan.attributes, arguments, environment);
  if (started.error != 0) return started;
  started.pidfd = static_cast<int>(syscall(SYS_pidfd_open, started.id, 0));  // close-on-exec of itself
  if (started.pidfd >= 0) return started;
  started.error = errno;
  started.what = "pidfd_open";
  ::kill(started.id, SIGKILL);
  while (waitpid(started.id, nullptr, 0) < 0 && errno == EINTR) {}
  return started;
}

// Without a worker around it SIGPIPE is not blocked. One that a write raises is this thread's own, and is taken back.
class NoSigpipe {
 public:
  NoSigpipe() noexcept : active_(current_worker() == nullptr) {
    if (!active_) return;
    sigset_t pending;
    sigpending(&pending);
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    if (!active_) return;
    const timespec now{};
    if (!was_pending_)
      while (sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {}
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  const bool active_;
  bool was_pending_ = false;
  sigset_t pipe_{};
  sigset_t before_{};
};

}  // namespace

std::string ExitStatus::to_text() const {
  if (signal == 0) return "exit code " + std::to_string(exit_code);
  const char* name = sigdescr_np(signal);
  return "signal " + std::to_string(signal) + " (" + (name != nullptr ? name : "unknown") + ")" +
         (core_dumped ? ", core dumped" : "");
}

// --- Pipes ----------------------------------------------------------------------------------------------------------

Result<std::size_t> PipeStream::read_some(std::span<std::byte> into, Deadline deadline) {
  if (!descriptor_) return fail(Errc::kClosed);
  return io::read_some(descriptor_.get(), into, deadline);
}

Result<std::string> PipeStream::read_to_end(std::size_t limit_bytes, Deadline deadline) {
  std::string all;
  std::vector<std::byte> piece(16 * 1024);
  for (;;) {
    const std::size_t size = TRY(read_some(piece, deadline));
    if (size == 0) return all;
    if (size > limit_bytes - all.size()) return fail(Errc::kFileTooBig, "a process says more than is kept of it");
    all.append(reinterpret_cast<const char*>(piece.data()), size);
  }
}

Status PipeStream::write_all(std::span<const std::byte> from, Deadline deadline) {
  if (!descriptor_) return fail(Errc::kClosed);
  const NoSigpipe guard;
  while (!from.empty()) from = from.subspan(TRY(io::write_some(descriptor_.get(), from, deadline)));
  return {};
}

// --- Processes ------------------------------------------------------------------------------------------------------

Result<Process> Process::start(const ProcessOptions& options) {
  if (simulated()) return fail(Errc::kUnsupported, "a Simulation has no processes: they live in real time");
  if (options.arguments.empty()) return fail(Errc::kInvalid, "a process needs the name of its program");
  Process made;
  made.own_group_ = options.own_group;
  SpawnPlan plan;
  std::vector<io::Descriptor> sources;  // until the program has its own
  int prepared = prepare_signals(plan.attributes, options.own_group);
  if (prepared == 0 && !options.working_directory.empty())
    prepared = posix_spawn_file_actions_addchdir_np(&plan.actions, options.working_directory.c_str());

  const std::array<const Stdio*, 3> wanted{&options.input, &options.output, &options.error_output};
  const std::array<PipeStream*, 3> ours{&made.input_, &made.output_, &made.error_output_};
  for (int standard = 0; standard < 3 && prepared == 0; ++standard) {
    const auto index = static_cast<std::size_t>(standard);
    switch (wanted[index]->kind_) {
      case Stdio::Kind::kInherit: continue;
      case Stdio::Kind::kAsOutput:
        if (standard == 2) prepared = posix_spawn_file_actions_adddup2(&plan.actions, 1, 2);
        continue;
      case Stdio::Kind::kNull: {
        io::Descriptor null(::open("/dev/null", O_RDWR | O_CLOEXEC));
        if (!null) return fail(Error::from_errno(errno, "open /dev/null"));
        sources.push_back(TRY(above_standard(null.get())));
        break;
      }
      case Stdio::Kind::kPipe: {
        io::PipeEnds pipe = TRY(io::make_pipe());
        sources.push_back(TRY(above_standard((standard == 0 ? pipe.read : pipe.write).get())));
        *ours[index] = PipeStream(std::move(standard == 0 ? pipe.write : pipe.read));
        break;
      }
      case Stdio::Kind::kDescriptor: sources.push_back(TRY(above_standard(wanted[index]->fd_))); break;
    }
    prepared = posix_spawn_file_actions_adddup2(&plan.actions, sources.back().get(), standard);
  }
  if (prepared == 0) prepared = posix_spawn_file_actions_addclosefrom_np(&plan.actions, 3);
  if (prepared != 0) return fail(Error::from_errno(prepared, "posix_spawn"));

  const std::vector<char*> arguments = pointers_to(options.arguments);
  const std::vector<char*> environment = options.environment ? pointers_to(*options.environment) : std::vector<char*>();
  // The thread that starts it waits for its exec.
  const Started started = blocking(
      [&] { return spawn_program(plan, arguments.data(), options.environment ? environment.data() : environ); });
  if (started.error != 0)
    return fail(
        Error::from_errno(started.error, started.what != nullptr ? started.what : "run " + options.arguments[0]));
  made.id_ = started.id;
  made.pidfd_ = io::Descriptor(started.pidfd);
  return made;
}

Process& Process::operator=(Process&& other) noexcept {
  WEFT_CHECK(!pidfd_ || status_.has_value());
  id_ = other.id_;
  own_group_ = other.own_group_;
  pidfd_ = std::move(other.pidfd_);
  input_ = std::move(other.input_);
  output_ = std::move(other.output_);
  error_output_ = std::move(other.error_output_);
  status_ = other.status_;
  return *this;
}

Process::~Process() {
  if (!pidfd_ || status_) return;
  (void)kill(SIGKILL);
  // Not to be ended early: a request to stop this fiber leaves no zombie either.
  while (!reap(false, Deadline::never())) {}
}

namespace {

// 0: there, -EAGAIN: not yet. noinline: the address of errno must not be kept by a caller that parks.
[[gnu::noinline]] int wait_now(int pidfd, siginfo_t& info) noexcept {
  info = {};
  if (waitid(kByPidfd, static_cast<id_t>(pidfd), &info, WEXITED | WNOHANG) != 0) return -errno;
  return info.si_pid != 0 ? 0 : -EAGAIN;
}

}  // namespace

// Fails only by the deadline, a stop request, or, `may_wait_long` false, never: the kill has been sent.
Status Process::reap(bool may_wait_long, Deadline deadline) {
  for (;;) {
    siginfo_t info;
    const int result = wait_now(pidfd_.get(), info);
    if (result == 0) {
      ExitStatus status;
      if (info.si_code == CLD_EXITED) {
        status.exit_code = info.si_status;
      } else {
        status.signal = info.si_status;
        status.core_dumped = info.si_code == CLD_DUMPED;
      }
      status_ = status;
      return {};
    }
    if (result != -EAGAIN && result != -EINTR) {
      status_ = ExitStatus{};
      if (!may_wait_long) return {};
      pidfd_.reset();
      return fail(Errc::kNotFound,
                  "the end of process " + std::to_string(id_) +
                      " was taken by somebody who waits for all children (waitpid(-1), SIGCHLD ignored)");
    }
    if (may_wait_long) {
      TRY(io::poll(pidfd_.get(), POLLIN, deadline));
    } else if (on_fiber()) {
      blocking([&] {
        pollfd ended{pidfd_.get(), POLLIN, 0};
        ::poll(&ended, 1, -1);
      });
    } else {
      pollfd ended{pidfd_.get(), POLLIN, 0};
      ::poll(&ended, 1, -1);
    }
  }
}

Result<ExitStatus> Process::wait(Deadline deadline) {
  if (!pidfd_) return fail(Errc::kNotFound, "there is no process to wait for");
  if (!status_) TRY(reap(true, deadline));
  return *status_;
}

Status Process::kill(int signal) {
  if (!pidfd_ || status_) return fail(Errc::kNotFound, "the process has ended");
  // Its group's number is taken as long as it is not reaped.
  if (own_group_) {
    if (::kill(-id_, signal) != 0) return fail(Error::from_errno(errno, "kill"));
    return {};
  }
  if (syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0) != 0)
    return fail(Error::from_errno(errno, "pidfd_send_signal"));
  return {};
}

Result<FinishedProcess> run_process(ProcessOptions options, std::span<const std::byte> input, Deadline deadline,
                                    std::size_t limit_bytes) {
  options.input = input.empty() ? Stdio::null() : Stdio::pipe();
  options.output = Stdio::pipe();
  options.error_output = Stdio::pipe();
  Process process = TRY(Process::start(options));
  FinishedProcess finished;
  Status written;
  Result<std::string> errors;
  // A program may say much on one output before it looks at its input, or says anything on the other.
  Fiber writer = spawn("process input", [&] {
    written = process.input().is_open() ? process.input().write_all(input, deadline) : Status();
    process.input().close();
  });
  Fiber error_reader = spawn("process errors", [&] {
    errors = process.error_output().read_to_end(limit_bytes, deadline);
    process.error_output().close();  // one that says too much must not wait for us to hear it
  });
  Result<std::string> output = process.output().read_to_end(limit_bytes, deadline);
  Result<ExitStatus> status = ExitStatus{};
  if (output) status = process.wait(deadline);
  // With it gone the others come to their end, unless it has left heirs of its pipes.
  if (!output || !status) {
    process.output().close();
    (void)process.kill(SIGKILL);
    writer.request_stop();
    error_reader.request_stop();
  }
  writer.join();
  error_reader.join();
  if (!output) return fail(std::move(output).error());
  if (!status) return fail(std::move(status).error());
  if (!errors) return fail(std::move(errors).error());
  // That it did not want all of the input is its own affair.
  if (!written && written.error() != Errc::kClosed) return fail(std::move(written).error());
  finished.status = *status;
  finished.output = std::move(*output);
  finished.error_output = std::move(*errors);
  return finished;
}

}  // namespace weft::sched
