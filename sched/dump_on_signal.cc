// sched/dump_on_signal.cc - a report of all runtimes when a signal asks for one. Declared in sched/inspect.h.
//
//   signal  ->  handler: one byte into a pipe  ->  thread: report_all()  ->  file
//
// The handler may interrupt anything, so it does no more than that; the thread is no worker, so that it speaks also when all
// of them are stuck.
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <string_view>
#include <thread>
#include <utility>

#include "sched/inspect.h"
#include "sched/start_thread.h"

namespace weft::sched {
namespace {

constexpr char kDump = 'd', kEnd = 'e';

constinit std::mutex changing;
// The pipe's end for each signal, plus one; 0: none.
constinit std::array<std::atomic<int>, 65> pipes{};

constinit std::atomic<int> in_handlers{0};

void ask_for_dump(int signal) {
  const int kept_errno = errno;
  in_handlers.fetch_add(1);
  const int pipe = pipes[static_cast<std::size_t>(signal)].load(std::memory_order_acquire);
  if (pipe != 0) (void)!write(pipe - 1, &kDump, 1);
  in_handlers.fetch_sub(1);
  errno = kept_errno;
}

void write_all(int fd, std::string_view text) noexcept {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

}  // namespace

struct DumpOnSignal::Impl {
  int signal = 0;
  std::string path;
  int ends[2] = {-1, -1};
  struct sigaction before{};
  std::thread thread;

  void serve() const {
    for (char asked = 0; read(ends[0], &asked, 1) == 1 || errno == EINTR;) {
      if (asked == kEnd) return;
      if (asked == kDump) dump();
      asked = 0;
    }
  }
  void dump() const {
    int fd = STDERR_FILENO;
    if (!path.empty()) fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) return;
    write_all(fd, report_all({.backtraces = true}));
    if (fd != STDERR_FILENO) close(fd);
  }
};

DumpOnSignal::DumpOnSignal(int signal, std::string path) {
  if (signal <= 0 || static_cast<std::size_t>(signal) >= pipes.size()) {
    status_ = fail(Errc::kInvalid, "no signal has this number");
    return;
  }
  const std::lock_guard guard(changing);
  std::atomic<int>& place = pipes[static_cast<std::size_t>(signal)];
  if (place.load() != 0) {
    status_ = fail(Errc::kBusy, "the signal has a DumpOnSignal already");
    return;
  }
  auto impl = std::make_unique<Impl>();
  impl->signal = signal;
  impl->path = std::move(path);
  if (pipe2(impl->ends, O_CLOEXEC) != 0) {
    status_ = fail(Error::from_errno(errno, "pipe for dumps"));
    return;
  }
  fcntl(impl->ends[1], F_SETFL, O_NONBLOCK);  // a handler never waits; a full pipe holds dumps enough
  auto thread = start_thread("a thread for dumps", [served = impl.get()] {
    pthread_setname_np(pthread_self(), "weft-dump");
    served->serve();
  });
  if (!thread) {
    close(impl->ends[0]);
    close(impl->ends[1]);
    status_ = fail(std::move(thread).error());
    return;
  }
  impl->thread = *std::move(thread);
  place.store(impl->ends[1] + 1, std::memory_order_release);
  struct sigaction action{};
  action.sa_handler = &ask_for_dump;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, &impl->before);
  impl_ = std::move(impl);
}

DumpOnSignal::~DumpOnSignal() {
  if (impl_ == nullptr) return;
  {
    const std::lock_guard guard(changing);
    sigaction(impl_->signal, &impl_->before, nullptr);
    pipes[static_cast<std::size_t>(impl_->signal)].store(0);
  }
  while (in_handlers.load() != 0) std::this_thread::yield();  // one may have the pipe in hand
  fcntl(impl_->ends[1], F_SETFL, 0);
  write_all(impl_->ends[1], std::string_view(&kEnd, 1));
  impl_->thread.join();
  close(impl_->ends[0]);
  close(impl_->ends[1]);
}

}  // namespace weft::sched
