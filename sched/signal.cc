#include "sched/signal.h"

#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <span>

#include "sched/io.h"

namespace weft::sched {

SignalSet::SignalSet(std::initializer_list<int> signals) noexcept {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : signals) sigaddset(&set, signal);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  fd_ = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

SignalSet::~SignalSet() {
  if (fd_ >= 0) close(fd_);
}

Result<int> SignalSet::wait(Deadline deadline) {
  if (fd_ < 0) return fail(Errc::kIo, "no descriptor for signals: raise the limit of open files (ulimit -n)");
  // Signals sent to the process, as those from outside are, can be read by any thread.
  signalfd_siginfo info{};
  TRY(io::read_some(fd_, std::as_writable_bytes(std::span(&info, 1)), deadline));
  return static_cast<int>(info.ssi_signo);
}

}  // namespace weft::sched
