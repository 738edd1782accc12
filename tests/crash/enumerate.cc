// tests/crash/enumerate.cc - pulls the plug at every place there is, and looks whether what is left is right.
//
//   workloads -> (a process each) search -> failures through a pipe, counts through shared memory -> [enumerate] -> screen
//
// A process that dies is a failure, too: what it was at stands in shared memory. See tests/crash/README.md.
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "kernel/log.h"
#include "tests/crash/planted.h"
#include "tests/crash/search.h"
#include "tests/crash/workloads.h"

namespace weft::crash {
namespace {

// A state or a workload that takes longer hangs; SIGALRM ends the process.
constexpr unsigned kHungSeconds = 300;

constexpr const char* kHelp = R"(Pulls the plug at every place there is, and looks whether what is left is right.

Runs workloads on the real file system over a disk that records every write and flush; builds every content that the
disk may legally have after a power cut (whatever was not flushed is there, absent or torn at 512 bytes, in any
combination); mounts each, checks it with the checker, and compares the tree with those that a model says are legal.
The power also goes inside recovery, and inside the recovery from that.

  --seconds N      end after so long (0: no limit)                                     [120]
  --states N       end after so many distinct disk contents (0: no limit)              [10000000]
  --workloads N    end after so many workloads (0: no limit); they have numbers, and the order is that of
                   tests/crash/workloads.h                                             [0]
  --from N         begin with workload N                                               [0]
  --seed N         of shuffling, sampling and random workloads                         [1]
  --jobs N         processes                                                           [all processors]
  --every          mount every state, also those of which mounting would read only what it has read before
  --replay CASE    one case, as a failure was printed: says what is on the disk and what recovery makes of it
  --planted NAME   plants a bug and looks how many states it takes to find it; "all": each, and all must be found;
                   "list": what there is (the flavour `planted` has more: make crash-planted)
  --keep-going     do not end at the first failure
  --help

Everything follows from the seed and the numbers above. Exit code: 0 nothing found, 1 a failure, 2 wrong usage.
)";

struct Arguments {
  std::uint64_t seconds = 120;
  std::uint64_t states = 10'000'000;
  std::uint64_t workloads = 0;
  std::uint64_t from = 0;
  std::uint64_t seed = 1;
  unsigned jobs = std::max(1L, sysconf(_SC_NPROCESSORS_ONLN));
  bool every = false;
  bool keep_going = false;
  std::string replay;
  std::string planted;
};

struct Shared {
  std::atomic<std::uint64_t> next;
  std::atomic<std::uint64_t> done[kFamilies];
  std::atomic<std::uint64_t> states;
  std::atomic<std::uint64_t> recovered;
  std::atomic<bool> stop;
  std::atomic<std::uint64_t> at[256];  // of each process: its workload's number + 1
};

using Time = std::chrono::steady_clock;

double seconds_since(Time::time_point start) { return std::chrono::duration<double>(Time::now() - start).count(); }

std::string with_commas(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (std::size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return digits;
}

// One process: workload after workload.
[[noreturn]] void work(const Arguments& arguments, unsigned self, Shared& shared, Seen& contents, Seen& judged,
                       Time::time_point start, int pipe) {
  const Workloads workloads(arguments.seed);
  SearchOptions options;
  options.seed = arguments.seed;
  options.remember = !arguments.every;
  options.bug = planted_bug() != nullptr ? planted_bug()->disk : DiskBug::kNone;
  const auto enough = [&] {
    alarm(kHungSeconds);
    return shared.stop.load(std::memory_order_relaxed) ||
           (arguments.states != 0 && contents.size() >= arguments.states) ||
           (arguments.seconds != 0 && seconds_since(start) >= static_cast<double>(arguments.seconds));
  };
  options.enough = enough;
  while (!enough()) {
    const std::uint64_t number = arguments.from + shared.next.fetch_add(1);
    if (arguments.workloads != 0 && number >= arguments.from + arguments.workloads) break;
    shared.at[self] = number + 1;
    const auto [family, workload] = workloads.at(number);
    // An oracle of its own for each: what it remembers is of little use to others, and is given back.
    Search search(contents, judged, options);
    auto failure = search.run(workload);
    shared.states += search.counts().states;
    shared.recovered += search.counts().recovered;
    if (failure) {
      if (!arguments.keep_going) shared.stop = true;
      alarm(0);
      if (family == Family::kRandom && planted_bug() == nullptr) failure = search.shrink(std::move(*failure));
      const std::string line = failure->where.text() + "\n" + failure->reason + "\n";
      if (::write(pipe, line.data(), line.size()) < 0) _exit(3);
    }
    if (!enough()) ++shared.done[static_cast<std::size_t>(family)];
  }
  shared.at[self] = 0;
  _exit(0);
}

class Screen {
 public:
  explicit Screen(const Arguments& arguments) : arguments_(arguments), terminal_(isatty(1) != 0) {}

  void show(std::uint64_t states, double seconds, std::uint64_t workloads, bool last) {
    const double rate = seconds > 0 ? static_cast<double>(states) / seconds : 0;
    if (!terminal_) {
      if (!last && seconds < next_) return;
      next_ = seconds + 10;
      if (!last)
        std::printf("%5.0f s  %s states  %s/s  %s workloads\n", seconds, with_commas(states).c_str(),
                    with_commas(static_cast<std::uint64_t>(rate)).c_str(), with_commas(workloads).c_str());
      std::fflush(stdout);
      return;
    }
    double part = 0;
    if (arguments_.seconds != 0) part = seconds / static_cast<double>(arguments_.seconds);
    if (arguments_.states != 0)
      part = std::max(part, static_cast<double>(states) / static_cast<double>(arguments_.states));
    if (arguments_.workloads != 0)
      part = std::max(part, static_cast<double>(workloads) / static_cast<double>(arguments_.workloads));
    constexpr int kWidth = 30;
    const int filled = static_cast<int>(std::min(part, 1.0) * kWidth);
    std::printf("\r[%s%s] %3.0f%%  %s states  %s/s  %s workloads \033[K", std::string(filled, '#').c_str(),
                std::string(kWidth - filled, '.').c_str(), std::min(part, 1.0) * 100, with_commas(states).c_str(),
                with_commas(static_cast<std::uint64_t>(rate)).c_str(), with_commas(workloads).c_str());
    if (last) std::printf("\n");
    std::fflush(stdout);
  }
  void clear() const {
    if (terminal_) std::printf("\r\033[K");
  }

 private:
  const Arguments& arguments_;
  const bool terminal_;
  double next_ = 10;
};

std::string how_to_replay(const std::string& where) {
  std::string out = "build/" +
                    std::string(planted_bug() != nullptr && planted_bug()->code != 0 ? "planted" : "release") +
                    "/crash/enumerate ";
  if (planted_bug() != nullptr) out += "--planted " + std::string(planted_bug()->name) + " ";
  return out + "--replay '" + where + "'";
}

struct Outcome {
  std::uint64_t failures = 0;
  std::uint64_t states = 0;
  std::string first;   // failure: where
  std::string reason;  // and why
};

// All of it, with processes; `quiet`: no screen.
Outcome enumerate(const Arguments& arguments, bool quiet) {
  std::size_t slots = 1 << 20;
  while (slots < (arguments.states == 0 ? 100'000'000 : arguments.states) * 2) slots *= 2;
  Seen contents(slots);
  Seen judged(slots * 2);
  auto& shared = *new (shared_memory(sizeof(Shared))) Shared{};
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC) != 0) std::abort();
  const auto start = Time::now();
  std::fflush(stdout);
  std::vector<pid_t> workers;
  const unsigned jobs = std::min(arguments.jobs, 256U);
  for (unsigned i = 0; i < jobs; ++i) {
    const pid_t pid = fork();
    if (pid == 0) work(arguments, i, shared, contents, judged, start, pipes[1]);
    workers.push_back(pid);
  }
  close(pipes[1]);

  Screen screen(arguments);
  Outcome outcome;
  std::string pending;
  const auto take_lines = [&] {
    for (std::size_t end;
         (end = pending.find('\n', pending.find('\n') + 1)) != std::string::npos && pending.find('\n') != end;) {
      const std::size_t middle = pending.find('\n');
      const std::string where = pending.substr(0, middle);
      const std::string reason = pending.substr(middle + 1, end - middle - 1);
      pending.erase(0, end + 1);
      if (outcome.failures++ == 0) outcome.first = where, outcome.reason = reason;
      if (quiet) continue;
      screen.clear();
      std::printf("FAILED: %s\n        %s\n", reason.c_str(), how_to_replay(where).c_str());
    }
  };
  const auto workloads_done = [&] {
    std::uint64_t done = 0;
    for (const auto& each : shared.done) done += each.load();
    return done;
  };
  std::vector<bool> ended(jobs, false);
  for (std::size_t running = workers.size(); running > 0;) {
    pollfd ready{.fd = pipes[0], .events = POLLIN, .revents = 0};
    if (poll(&ready, 1, 200) > 0) {
      char buffer[65536];
      const ssize_t got = read(pipes[0], buffer, sizeof buffer);
      if (got > 0) pending.append(buffer, static_cast<std::size_t>(got));
      if (got == 0) usleep(20'000);
      take_lines();
    }
    for (std::size_t i = 0; i < workers.size(); ++i) {
      int status = 0;
      if (ended[i] || waitpid(workers[i], &status, WNOHANG) <= 0) continue;
      ended[i] = true;
      --running;
      if (WIFEXITED(status) && WEXITSTATUS(status) == 0) continue;
      shared.stop = true;
      const std::uint64_t number = shared.at[i].load();
      const std::string text = number == 0 ? "" : Workloads(arguments.seed).at(number - 1).workload.text();
      const bool hung = WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM;
      if (outcome.failures++ == 0) outcome.first = text, outcome.reason = hung ? "it hung" : "the process died";
      if (quiet) continue;
      screen.clear();
      std::printf("FAILED: the process died (%s %d) at workload %" PRIu64 ": %s\n",
                  hung                  ? "it hung: signal"
                  : WIFSIGNALED(status) ? "signal"
                                        : "exit code",
                  WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), number - 1, text.c_str());
    }
    if (!quiet) screen.show(contents.size(), seconds_since(start), workloads_done(), false);
  }
  for (;;) {
    char buffer[65536];
    const ssize_t got = read(pipes[0], buffer, sizeof buffer);
    if (got <= 0) break;
    pending.append(buffer, static_cast<std::size_t>(got));
  }
  take_lines();
  close(pipes[0]);
  outcome.states = contents.size();
  if (quiet) return outcome;

  const double seconds = seconds_since(start);
  screen.show(contents.size(), seconds, workloads_done(), true);
  const Workloads all(arguments.seed);
  for (std::size_t family = 0; family < kFamilies; ++family) {
    const std::uint64_t size = all.size(static_cast<Family>(family));
    std::printf("%12s workloads %s: %s%s\n", with_commas(shared.done[family]).c_str(),
                std::string(name_of(static_cast<Family>(family))).c_str(), size != 0 ? "of " : "as many as time allows",
                size != 0 ? with_commas(size).c_str() : "");
  }
  std::printf(
      "%12s distinct disk contents (%s with what had been promised by then), %s mounted and checked, the others\n"
      "             known by every byte that mounting and checking them reads\n",
      with_commas(contents.size()).c_str(), with_commas(shared.states).c_str(), with_commas(shared.recovered).c_str());
  std::printf("%12.0f a second, %.1f seconds, seed %" PRIu64 "\n%s\n", static_cast<double>(contents.size()) / seconds,
              seconds, arguments.seed, outcome.failures == 0 ? "nothing found" : "FAILED");
  return outcome;
}

int find_planted(Arguments arguments) {
  arguments.jobs = 1;  // so that the number of states is the same each time
  const bool all = arguments.planted == "all";
  unsigned missed = 0, known = 0;
  for (const PlantedBug& bug : planted_bugs()) {
    if (arguments.planted == "list") {
      std::printf("%-26s %s\n", std::string(bug.name).c_str(), std::string(bug.what).c_str());
      continue;
    }
    if (!all && arguments.planted != bug.name) continue;
    ++known;
    plant(&bug);
    const auto start = Time::now();
    const Outcome outcome = enumerate(arguments, true);
    missed += outcome.failures == 0;
    std::printf("%-26s %s after %s states, %.2f s: %s\n", std::string(bug.name).c_str(),
                outcome.failures != 0 ? "found" : "NOT FOUND", with_commas(outcome.states).c_str(),
                seconds_since(start), std::string(bug.what).c_str());
    if (outcome.failures != 0)
      std::printf("  %s\n  %s\n", outcome.reason.c_str(), how_to_replay(outcome.first).c_str());
    std::fflush(stdout);
    plant(nullptr);
  }
  if (arguments.planted == "list") return 0;
  if (known == 0) {
    std::fprintf(stderr, "no such bug: --planted list shows what there is\n");
    return 2;
  }
  if (all) std::printf("%u of %u planted bugs found\n", known - missed, known);
  return missed == 0 ? 0 : 1;
}

int run(int argc, char** argv) {
  enum : std::uint8_t {
    kSeconds = 1,
    kStates,
    kWorkloads,
    kFrom,
    kSeed,
    kJobs,
    kEvery,
    kReplay,
    kPlanted,
    kKeep,
    kHelpMe
  };
  const option options[] = {
      {"seconds", 1, nullptr, kSeconds}, {"states", 1, nullptr, kStates}, {"workloads", 1, nullptr, kWorkloads},
      {"from", 1, nullptr, kFrom},       {"seed", 1, nullptr, kSeed},     {"jobs", 1, nullptr, kJobs},
      {"every", 0, nullptr, kEvery},     {"replay", 1, nullptr, kReplay}, {"planted", 1, nullptr, kPlanted},
      {"keep-going", 0, nullptr, kKeep}, {"help", 0, nullptr, kHelpMe},   {nullptr, 0, nullptr, 0}};
  Arguments arguments;
  bool wrong = false;
  const auto number = [&] {
    char* end = nullptr;
    const std::uint64_t value = std::strtoull(optarg, &end, 10);
    wrong = wrong || *optarg < '0' || *optarg > '9' || *end != '\0';
    return value;
  };
  for (int got; (got = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    switch (got) {
      case kSeconds: arguments.seconds = number(); break;
      case kStates: arguments.states = number(); break;
      case kWorkloads: arguments.workloads = number(); break;
      case kFrom: arguments.from = number(); break;
      case kSeed: arguments.seed = number(); break;
      case kJobs: arguments.jobs = static_cast<unsigned>(std::max<std::uint64_t>(1, number())); break;
      case kEvery: arguments.every = true; break;
      case kReplay: arguments.replay = optarg; break;
      case kPlanted: arguments.planted = optarg; break;
      case kKeep: arguments.keep_going = true; break;
      case kHelpMe: std::fputs(kHelp, stdout); return 0;
      default: wrong = true;
    }
  }
  if (wrong || optind != argc) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  // A mount takes buffers that malloc() would ask the system for each time.
  mallopt(M_MMAP_THRESHOLD, 256 << 20);
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  // Damage is what this looks for; that the file system mentions it, too, would only be noise.
  log_to(open("/dev/null", O_WRONLY | O_CLOEXEC));
  if (!arguments.replay.empty()) {
    for (const PlantedBug& bug : planted_bugs()) {
      if (bug.name == arguments.planted) plant(&bug);
    }
    return replay(Case::parse(arguments.replay), planted_bug() != nullptr ? planted_bug()->disk : DiskBug::kNone) ? 1
                                                                                                                  : 0;
  }
  if (!arguments.planted.empty()) return find_planted(arguments);
  return enumerate(arguments, false).failures == 0 ? 0 : 1;
}

}  // namespace
}  // namespace weft::crash

int main(int argc, char** argv) { return weft::crash::run(argc, argv); }
