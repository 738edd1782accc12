#include "tools/every_thread.h"

#include <semaphore.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

namespace weft::tools {

namespace {

constexpr int kPatienceSeconds = 10;
constexpr long kLookAgainNs = 20'000'000;

// The call on its way to one thread.
struct Errand {
  FunctionRef<int()> call;
  pid_t thread = 0;
  int os_errno = 0;
  sem_t done{};
};

std::atomic<Errand*> waiting{nullptr};

int signal_number() { return SIGRTMAX - 2; }

// Runs on the thread it was sent to. A signal of that number from anybody else finds no errand, or another thread's.
void on_signal(int) {
  const int saved = errno;
  Errand* errand = waiting.load();
  if (errand != nullptr && errand->thread == ::gettid() && waiting.compare_exchange_strong(errand, nullptr)) {
    errand->os_errno = errand->call();
    ::sem_post(&errand->done);
  }
  errno = saved;
}

bool send_to(pid_t thread, int signal) { return ::syscall(SYS_tgkill, ::getpid(), thread, signal) == 0; }

Status run_on(pid_t thread, FunctionRef<int()> call) {
  Errand errand{.call = call, .thread = thread};
  ::sem_init(&errand.done, 0, 0);
  waiting.store(&errand);
  timespec until{};
  ::clock_gettime(CLOCK_REALTIME, &until);
  const time_t patience = until.tv_sec + kPatienceSeconds;
  bool ran = false;
  bool alive = send_to(thread, signal_number());
  while (alive && !ran) {
    until.tv_nsec += kLookAgainNs;
    until.tv_sec += until.tv_nsec / 1'000'000'000;
    until.tv_nsec %= 1'000'000'000;
    ran = ::sem_timedwait(&errand.done, &until) == 0;
    if (ran || until.tv_sec > patience) break;
    alive = send_to(thread, 0);
  }
  if (!ran) {
    // Taken back, unless the thread has just begun with it: then it ends at once.
    Errand* mine = &errand;
    if (!waiting.compare_exchange_strong(mine, nullptr)) {
      while (::sem_wait(&errand.done) != 0) {}
      ran = true;
    }
  }
  ::sem_destroy(&errand.done);
  if (!ran) {
    if (!alive) return {};  // it has ended
    return fail(Errc::kTimedOut, "thread " + std::to_string(thread) + " does not take a signal");
  }
  if (errand.os_errno != 0) return fail(Error::from_errno(errand.os_errno, "on every thread"));
  return {};
}

// A thread of the kernel's that io_uring has put among ours; it takes no signals.
bool is_io_worker(const std::string& task) {
  constexpr unsigned long kIoWorker = 0x10;  // PF_IO_WORKER
  std::ifstream file(task + "/stat");
  std::string text;
  std::getline(file, text, '\0');
  const std::size_t name_end = text.rfind(')');  // the name may hold anything
  if (name_end == std::string::npos) return false;
  std::istringstream rest(text.substr(name_end + 1));
  std::string state;
  long skipped = 0;
  unsigned long flags = 0;
  rest >> state;
  for (int i = 0; i < 5; ++i) rest >> skipped;
  rest >> flags;
  return rest && (flags & kIoWorker) != 0;
}

Result<std::vector<pid_t>> threads() {
  std::vector<pid_t> found;
  std::error_code error;
  std::filesystem::directory_iterator each("/proc/self/task", error);
  for (; !error && each != std::filesystem::directory_iterator(); each.increment(error)) {
    const std::string name = each->path().filename().string();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    if (thread != 0 && !is_io_worker(each->path().string())) found.push_back(thread);
  }
  if (error) return fail(Errc::kUnsupported, "/proc/self/task: " + error.message());
  return found;
}

}  // namespace

Status on_every_thread(FunctionRef<int()> call) {
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  // It stays: a signal that comes late must not find the default, which is to die.
  if (::sigaction(signal_number(), &action, nullptr) != 0) return fail(Error::from_errno(errno, "sigaction"));
  std::set<pid_t> done;
  for (bool found_new = true; found_new;) {
    found_new = false;
    for (const pid_t thread : TRY(threads())) {
      if (!done.insert(thread).second) continue;
      found_new = true;
      if (thread != ::gettid()) {
        TRY(run_on(thread, call));
      } else if (const int os_errno = call(); os_errno != 0) {
        return fail(Error::from_errno(os_errno, "on every thread"));
      }
    }
  }
  return {};
}

}  // namespace weft::tools
