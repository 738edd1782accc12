#include "tools/supervisor.h"

#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "fs/fuse/device_transport.h"
#include "fs/fuse/handover.h"
#include "fs/fuse/mount.h"
#include "tools/control_channel.h"
#include "tools/restart_policy.h"
#include "tools/watchdog.h"

namespace weft::tools {

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kBusyUnmountLimit = 20s;
constexpr auto kLastWordsLimit = 30s;  // for a server that was asked to make everything durable and end
constexpr auto kKillLimit = 10s;       // for SIGKILL to end a server
constexpr auto kTick = 100ms;
constexpr int kBusy = 1;  // exit statuses of the process that unmounts
constexpr int kNotUnmounted = 2;
constexpr int kFailed = 32;  // of a server

sigset_t own_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGCHLD}) sigaddset(&set, each);
  return set;
}

std::string describe(int signal) {
  const char* words = ::sigdescr_np(signal);
  return words != nullptr ? words : "signal " + std::to_string(signal);
}

unsigned processors() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(CPU_COUNT(&set), 1));
}

void say_error(int socket, const Error& error) {
  static_cast<void>(send_control(
      socket,
      {.kind = ControlKind::kError, .number = static_cast<std::uint64_t>(error.code()), .words = {error.message()}}));
}

class Supervisor {
 public:
  Supervisor(const MountOptions& options, const MountServerHooks& hooks) : options_(options), hooks_(hooks) {
    if (options_.workers == 0) options_.workers = processors();  // as many descriptors as readers, whoever reads
  }
  Status run();

 private:
  void start_server();
  [[noreturn]] void be_server(int control);
  Result<Connection> ask_for_connection(int control, const fs::fuse::MountRequest& request, int image_lock);

  void hear_server();
  void connect(const ControlMessage& wanted);
  void take_signals();
  void server_died(int status);
  void unmounter_ended(int status);
  void unmount(bool lazily);
  void kill_server(Clock::duration patience, int signal);
  void look_at_clock();
  void end(Status result);
  [[nodiscard]] bool connected() const;

  MountOptions options_;
  const MountServerHooks& hooks_;
  fs::fuse::HandoverPtr handover_;
  Connection connection_;
  int image_lock_ = -1;
  int abort_fd_ = -1;
  int signals_ = -1;
  int control_ = -1;

  pid_t server_ = 0;     // 0: none
  pid_t unmounter_ = 0;  // a process of its own, since umount(2) waits for the server, which may need us
  bool ever_served_ = false;
  bool unmounting_ = false;
  bool stood_still_ = false;
  std::optional<Error> refusal_;  // why a server could not begin
  RestartPolicy policy_;
  std::optional<Pulse> pulse_;
  Clock::time_point started_;
  std::optional<Clock::time_point> restart_at_;
  std::optional<Clock::time_point> patience_ends_;  // with those who hold a mount that is to go
  std::optional<Clock::time_point> death_expected_;
  std::optional<Status> result_;
};

Status Supervisor::run() {
  handover_ = TRY(fs::fuse::make_handover());
  const sigset_t set = own_signals();
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  signals_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals_ < 0) return fail(Error::from_errno(errno, "signalfd"));
  start_server();
  while (!result_) {
    std::array<pollfd, 2> sources{{{signals_, POLLIN, 0}, {control_, POLLIN, 0}}};
    ::poll(sources.data(), sources.size(), static_cast<int>(std::chrono::milliseconds(kTick).count()));
    if (sources[1].revents != 0) hear_server();
    take_signals();
    look_at_clock();
  }
  return *result_;
}

void Supervisor::end(Status result) {
  if (result_) return;
  // What a dead server had handed to its ring may hold the connection open, as long as a device hangs.
  if (!result && abort_fd_ >= 0) static_cast<void>(::write(abort_fd_, "1", 1) < 0);
  result_ = std::move(result);
}

bool Supervisor::connected() const {
  if (connection_.descriptors.empty()) return false;
  pollfd device{connection_.descriptors.front(), POLLIN, 0};
  return ::poll(&device, 1, 0) >= 0 && (device.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
}

// ----------------------------------------------------------------------------------------------------- a server begins

void Supervisor::start_server() {
  restart_at_.reset();
  death_expected_.reset();
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return end(fail(Error::from_errno(errno, "socketpair")));
  handover_->server.fetch_add(1);
  handover_->serving.store(false);
  started_ = Clock::now();
  pulse_.emplace(std::chrono::seconds(options_.watchdog_seconds), started_);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    be_server(ends[1]);
  }
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    return end(fail(Error::from_errno(errno, "fork")));
  }
  control_ = ends[0];
  server_ = child;
}

void Supervisor::be_server(int control) {
  ::close(signals_);
  // Who presses ^C means the mount, and the supervisor sees to that.
  for (const int each : {SIGTERM, SIGINT, SIGHUP}) ::signal(each, SIG_IGN);
  const sigset_t set = own_signals();
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  Supervised supervised;
  supervised.handover = handover_.get();
  supervised.image_lock = image_lock_;
  supervised.connect = [this, control](const fs::fuse::MountRequest& request, int image_lock) {
    return ask_for_connection(control, request, image_lock);
  };
  supervised.refuse = [control](const Error& error) {
    say_error(control, error);
    ::_exit(kFailed);
  };
  MountServerHooks hooks = hooks_;
  hooks.supervised = &supervised;
  hooks.mounted = [&](const std::string& message) {
    handover_->serving.store(true);
    static_cast<void>(send_control(control, {.kind = ControlKind::kServing, .words = {message}}));
    hooks_.detach();
  };
  hooks_.forked();
  const Status served = serve_mount(options_, hooks);
  if (served) ::_exit(0);
  if (handover_->serving.load()) {
    hooks_.log("not everything may be on disk: " + served.error().message());
  } else {
    say_error(control, served.error());
  }
  ::_exit(kFailed);
}

// In the server.
Result<Connection> Supervisor::ask_for_connection(int control, const fs::fuse::MountRequest& request, int image_lock) {
  if (!connection_.descriptors.empty()) return connection_;  // made for a server before this, and inherited
  TRY(send_control(
      control,
      {.kind = ControlKind::kMount, .number = request.flags, .words = {request.image}, .descriptor = image_lock}));
  ControlMessage answer = TRY(receive_control(control));
  if (answer.kind == ControlKind::kError) return fail(static_cast<Errc>(answer.number), answer.words.at(0));
  Connection made{{}, answer.words.at(0), answer.words.at(1), answer.words.at(2)};
  while (made.descriptors.size() < answer.number) {
    made.descriptors.push_back(TRY(receive_control(control)).descriptor);
  }
  return made;
}

// ------------------------------------------------------------------------------------------------ what a server says

void Supervisor::hear_server() {
  auto message = receive_control(control_);
  if (!message) {
    ::close(std::exchange(control_, -1));
    return;
  }
  if (!server_may_say(*message, !connection_.descriptors.empty())) {
    if (message->descriptor >= 0) ::close(message->descriptor);
    hooks_.log("the server says what no server says; killing it");
    return kill_server(kKillLimit, SIGKILL);
  }
  switch (message->kind) {
    case ControlKind::kMount: return connect(*message);
    case ControlKind::kError: refusal_.emplace(static_cast<Errc>(message->number), message->words.at(0)); return;
    case ControlKind::kServing:
      refusal_.reset();
      if (std::exchange(ever_served_, true)) {
        hooks_.log("another server goes on");
        return;
      }
      if (::geteuid() == 0) fs::fuse::tune_cache(options_.directory, options_.read_ahead_kib, fs::fuse::kDirtyBytes);
      hooks_.mounted(message->words.at(0));
      return;
    default: return;
  }
}

void Supervisor::connect(const ControlMessage& wanted) {
  auto made = fs::fuse::mount_connection({.image = wanted.words.at(0),
                                          .directory = options_.directory,
                                          .flags = static_cast<unsigned long>(wanted.number),
                                          .allow_other = options_.allow_other,
                                          .want_block_device = !options_.plain_fuse});
  Result<std::vector<int>> descriptors = std::vector<int>();
  if (made) descriptors = fs::fuse::clone_connection(made->fuse_fd, options_.workers);
  if (!made || !descriptors) {
    const Error& error = made ? descriptors.error() : made.error();
    if (made) static_cast<void>(fs::fuse::unmount(options_.directory, true));
    ::close(wanted.descriptor);
    return say_error(control_, error);
  }
  connection_ = {std::move(*descriptors), made->note, made->type, made->source};
  image_lock_ = wanted.descriptor;
  abort_fd_ = fs::fuse::open_abort(options_.directory);
  Status sent = send_control(control_, {.kind = ControlKind::kConnected,
                                        .number = connection_.descriptors.size(),
                                        .words = {made->note, made->type, made->source}});
  for (const int each : connection_.descriptors) {
    if (sent) sent = send_control(control_, {.kind = ControlKind::kDescriptor, .descriptor = each});
  }
}

// ------------------------------------------------------------------------------------------------------ what happens

void Supervisor::take_signals() {
  signalfd_siginfo info{};
  while (!result_ && ::read(signals_, &info, sizeof info) == sizeof info) {
    const int signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGUSR1) {
      if (server_ > 0) ::kill(server_, SIGUSR1);
    } else if (signal != SIGCHLD && !unmounting_) {
      hooks_.log(std::string("unmounting on ") + describe(signal));
      unmounting_ = true;
      unmount(false);
    }
  }
  for (pid_t child = 0; !result_;) {
    int status = 0;
    child = ::waitpid(-1, &status, WNOHANG);
    if (child <= 0) return;
    if (child == server_) server_died(status);
    if (child == unmounter_) unmounter_ended(status);
  }
}

void Supervisor::server_died(int status) {
  server_ = 0;
  while (control_ >= 0) hear_server();  // its last words
  death_expected_.reset();
  if (!ever_served_ && refusal_) {
    if (!connection_.descriptors.empty()) static_cast<void>(fs::fuse::unmount(options_.directory, true));
    return end(fail(*refusal_));
  }
  if (handover_->finished.load()) {
    const bool in_order = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return end(in_order ? Status() : fail(Errc::kIo, "the server ended otherwise than in order"));
  }
  const std::string how = refusal_              ? refusal_->message()
                          : WIFSIGNALED(status) ? describe(WTERMSIG(status))
                                                : "exit status " + std::to_string(WEXITSTATUS(status));
  refusal_.reset();
  if (!connection_.descriptors.empty() && !connected())
    return end(fail(Errc::kClosed, "the server died (" + how + ") as the mount ended; the next mount recovers"));
  const RestartPolicy::Death death{
      .served = handover_->serving.load(),
      .hung = std::exchange(stood_still_, false) || (WIFEXITED(status) && WEXITSTATUS(status) == kHungStatus),
      .killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL,
      .age = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - started_)};
  const bool could_go_on = connection_.descriptors.empty() || handover_->minor.load() == 0 || handover_->can_go_on();
  const auto pause = could_go_on ? policy_.after(death) : std::nullopt;
  if (!pause) {
    // Closing the connection, as our end does, turns every wait there into an error.
    return end(
        fail(Errc::kClosed, "the server died (" + how + ")" +
                                (could_go_on ? " again and again" : ", and this kernel does not let another go on") +
                                "; whoever uses the mount gets ENOTCONN"));
  }
  hooks_.log("the server died (" + how + "); starting another");
  restart_at_ = Clock::now() + *pause;
}

void Supervisor::unmount(bool lazily) {
  if (connection_.descriptors.empty()) {
    if (server_ > 0) ::kill(server_, SIGKILL);
    return end(fail(Errc::kCancelled, "told to end before there was a mount"));
  }
  const pid_t child = ::fork();
  if (child == 0) {
    for (const int each : connection_.descriptors) ::close(each);  // or the connection would outlive the supervisor
    const Status unmounted = fs::fuse::unmount(options_.directory, lazily);
    if (!unmounted && unmounted.error() != Errc::kBusy) hooks_.log(unmounted.error().message());
    ::_exit(unmounted ? 0 : unmounted.error() == Errc::kBusy ? kBusy : kNotUnmounted);
  }
  if (child < 0) return hooks_.log("cannot unmount: " + Error::from_errno(errno, "fork").message());
  unmounter_ = child;
  if (lazily) patience_ends_ = Clock::now() + kBusyUnmountLimit;
}

void Supervisor::unmounter_ended(int status) {
  unmounter_ = 0;
  if (!WIFEXITED(status) || WEXITSTATUS(status) == 0) return;
  if (WEXITSTATUS(status) == kBusy && !patience_ends_) {
    hooks_.log(options_.directory + " is in use; unmounting lazily");
    return unmount(true);
  }
  patience_ends_ = Clock::now() + kBusyUnmountLimit;
}

void Supervisor::kill_server(Clock::duration patience, int signal) {
  if (server_ <= 0) return;
  ::kill(server_, signal);
  death_expected_ = Clock::now() + patience;
}

void Supervisor::look_at_clock() {
  const auto now = Clock::now();
  if (result_) return;
  if (restart_at_ && now >= *restart_at_) return start_server();
  if (patience_ends_ && now >= *patience_ends_) {
    patience_ends_.reset();
    hooks_.log("still in use; ending all the same");
    if (server_ <= 0) return end(fail(Errc::kClosed, "there is no server to end in order; the next mount recovers"));
    return kill_server(kLastWordsLimit, SIGUSR2);
  }
  if (death_expected_ && now >= *death_expected_) {
    return end(fail(Errc::kTimedOut, "the server does not end; its connection has been aborted"));
  }
  if (server_ > 0 && !death_expected_ && !pulse_->alive(handover_->beats.load(), now)) {
    hooks_.log("the server has stood still for " + std::to_string(options_.watchdog_seconds) + " s; killing it");
    stood_still_ = true;
    kill_server(kKillLimit, SIGKILL);
  }
}

}  // namespace

Status supervise_mount(const MountOptions& options, const MountServerHooks& hooks) {
  return Supervisor(options, hooks).run();
}

}  // namespace weft::tools
