// sched_bench.cc - what the scheduler's operations cost, one row each; the same rows exist for its peers.
//
// Usage: sched_bench [--only ROW[,ROW...]] [--rounds N] [--workers N] [--scale N] [--json] [--list]
//
// Each row runs `rounds` times (default 7) after one round that is not counted; shown are the least and the median. With --json
// one object a line: row, unit, min, median, rounds, workers, peak_kb (the most memory resident in the row, which is a process of
// its own). --scale divides the sizes, for a quick look at whether all works. A wrong result ends the program with status 1.
//
//   row               unit   what one operation is; threads are `workers` where nothing else is said
//   yield_2           ns     one yield, of 2 fibers on 1 thread (2,000,000 in all)
//   yield_1000        ns     the same, of 1,000 fibers
//   spawn_join        ns     start a fiber with an empty body and join it, 1,000,000 times
//   batch_100k        ns     a fiber, of 100,000 that are started with an empty body and then joined in order
//   batch_1m          ns     the same, of 1,000,000
//   fib               ns     a fork, of the 1,346,268 in fib(30): fib(n - 1) forked, fib(n - 2) called, down to n < 2
//   fib_spawn         ns     the same by spawn and join of a fiber instead of a fork: fib(22), 28,656 of them
//   nqueens           ms     all 2,680 solutions of 11 queens; each row's choices forked and joined
//   skynet_1m         ms     a tree of 10 children each, 1,000,000 leaves, which gives back the sum of its leaves' numbers
//   channel_same      ns     a round trip of an int over two channels of capacity 1, 2 fibers on 1 thread (500,000)
//   channel_across    ns     the same with each fiber on a thread of its own (100,000)
//   mutex_free        ns     lock and unlock by one fiber (10,000,000)
//   mutex_contended   ns     lock, count, unlock: 16 fibers together (1,600,000)
//   timer_arm_cancel  ns     what a deadline far off adds to a wait that another fiber ends (1,000,000), 1,000 fibers asleep
//   timer_storm       ns     a sleep, of 1,000 fibers that sleep 1,000 times each for up to 100 us drawn from a seed; total time
//                            over number of sleeps
//   thread_ring       ns     a hop of a token in a ring of 503 fibers, each of which waits on a semaphore (1,000,000)
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "sched/channel.h"
#include "sched/fork_join.h"
#include "sched/mutex.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "sched/task.h"

namespace weft::sched {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::int64_t kCounters = 16;
constexpr std::int64_t kRing = 503;

struct Settings {
  std::vector<std::string> only;
  int rounds = 7;
  unsigned workers = 2;
  std::int64_t scale = 1;
  bool json = false;
};

void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "sched_bench: wrong result: %s\n", what);
  std::exit(1);
}

// Seconds that `work` takes on a fiber.
double on_fiber_seconds(Runtime& runtime, const std::function<void()>& work) {
  return runtime.block_on([&] {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - start).count();
  });
}

// --- Rows: each gives seconds for one operation ---------------------------------------------------------------------

double yields(Runtime& runtime, std::int64_t fibers, std::int64_t total) {
  const std::int64_t each = std::max<std::int64_t>(1, total / fibers);
  return on_fiber_seconds(runtime,
                          [=] {
                            std::vector<Fiber> all;
                            for (std::int64_t f = 0; f < fibers; ++f) {
                              all.push_back(spawn("yields", [each] {
                                for (std::int64_t i = 0; i < each; ++i) yield();
                              }));
                            }
                            for (Fiber& fiber : all) fiber.join();
                          }) /
         static_cast<double>(each * fibers);
}

double spawn_join(Runtime& runtime, std::int64_t count) {
  return on_fiber_seconds(runtime,
                          [=] {
                            for (std::int64_t i = 0; i < count; ++i) spawn("child", [] {}).join();
                          }) /
         static_cast<double>(count);
}

double batch(Runtime& runtime, std::int64_t count) {
  std::vector<Fiber> all;
  all.reserve(static_cast<std::size_t>(count));
  return on_fiber_seconds(runtime,
                          [&] {
                            for (std::int64_t i = 0; i < count; ++i) all.push_back(spawn("child", [] {}));
                            for (Fiber& fiber : all) fiber.join();
                          }) /
         static_cast<double>(count);
}

std::int64_t fib_by_spawn(int n) {
  if (n < 2) return n;
  std::int64_t left = 0;
  Fiber child = spawn("fib", [&left, n] { left = fib_by_spawn(n - 1); });
  const std::int64_t right = fib_by_spawn(n - 2);
  child.join();
  return left + right;
}

double fib_spawn(Runtime& runtime, std::int64_t scale) {
  const int n = scale > 1 ? 12 : 22;
  const std::int64_t forks = scale > 1 ? 232 : 28656;
  const std::int64_t result = scale > 1 ? 144 : 17711;
  return on_fiber_seconds(runtime, [=] { expect(fib_by_spawn(n) == result, "fib_spawn"); }) /
         static_cast<double>(forks);
}

std::int64_t fib_by_fork(int n) {
  if (n < 2) return n;
  Fork left([n] { return fib_by_fork(n - 1); });
  const std::int64_t right = fib_by_fork(n - 2);
  return left.join() + right;
}

double fib(Runtime& runtime, std::int64_t scale) {
  const int n = scale > 1 ? 20 : 30;
  const std::int64_t forks = scale > 1 ? 10945 : 1346268;
  const std::int64_t result = scale > 1 ? 6765 : 832040;
  return on_fiber_seconds(runtime, [=] { expect(fib_by_fork(n) == result, "fib"); }) / static_cast<double>(forks);
}

// Columns and diagonals that are taken, one bit each.
std::int64_t queens(int size, unsigned columns, unsigned left, unsigned right) {
  const unsigned all = (1U << size) - 1;
  if (columns == all) return 1;
  unsigned open = all & ~(columns | left | right);
  if (open == 0) return 0;
  const unsigned here = open & -open;
  open &= open - 1;
  const auto place = [=](unsigned bit) { return queens(size, columns | bit, (left | bit) << 1, (right | bit) >> 1); };
  // All choices but the first are forked.
  std::int64_t sum = 0;
  const auto others = [&](const auto& self, unsigned rest) -> std::int64_t {
    if (rest == 0) return place(here);
    const unsigned bit = rest & -rest;
    Fork fork([&place, bit] { return place(bit); });
    const std::int64_t later = self(self, rest & (rest - 1));
    return later + fork.join();
  };
  sum = others(others, open);
  return sum;
}

double nqueens(Runtime& runtime, std::int64_t scale) {
  const int size = scale > 1 ? 8 : 11;
  const std::int64_t solutions = scale > 1 ? 92 : 2680;
  return on_fiber_seconds(runtime, [=] { expect(queens(size, 0, 0, 0) == solutions, "nqueens"); });
}

std::int64_t skynet_node(std::int64_t first, std::int64_t leaves) {
  if (leaves == 1) return first;
  const std::int64_t each = leaves / 10;
  const auto child = [=](std::int64_t index) { return skynet_node(first + index * each, each); };
  const auto from = [&](const auto& self, std::int64_t index) -> std::int64_t {
    if (index == 9) return child(index);
    Fork fork([&child, index] { return child(index); });
    const std::int64_t later = self(self, index + 1);
    return later + fork.join();
  };
  return from(from, 0);
}

double skynet(Runtime& runtime, std::int64_t scale) {
  const std::int64_t leaves = scale > 1 ? 10'000 : 1'000'000;
  return on_fiber_seconds(runtime, [=] { expect(skynet_node(0, leaves) == leaves * (leaves - 1) / 2, "skynet_1m"); });
}

template <typename FirstBody, typename SecondBody>
double two_fibers(Runtime& runtime, bool across, FirstBody first, SecondBody second) {
  const auto start = Clock::now();
  Fiber a = runtime.spawn_pinned(0, "first", first);
  Fiber b = runtime.spawn_pinned(across ? 1 : 0, "second", second);
  a.join();
  b.join();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double channel_round_trips(Runtime& runtime, bool across, std::int64_t count) {
  Channel<int> there(1);
  Channel<int> back(1);
  std::int64_t sum = 0;
  const double seconds = two_fibers(
      runtime, across,
      [&] {
        for (std::int64_t i = 0; i < count; ++i) {
          (void)there.send(1);
          sum += *back.receive();
        }
      },
      [&] {
        for (std::int64_t i = 0; i < count; ++i) (void)back.send(*there.receive());
      });
  expect(sum == count, "channel");
  return seconds / static_cast<double>(count);
}

double mutex_free(Runtime& runtime, std::int64_t count) {
  return on_fiber_seconds(runtime,
                          [=] {
                            Mutex mutex;
                            for (std::int64_t i = 0; i < count; ++i) {
                              mutex.lock();
                              mutex.unlock();
                            }
                          }) /
         static_cast<double>(count);
}

double mutex_contended(Runtime& runtime, std::int64_t count) {
  const std::int64_t each = std::max<std::int64_t>(1, count / kCounters);
  std::int64_t counted = 0;
  const double seconds = on_fiber_seconds(runtime, [&] {
    Mutex mutex;
    std::vector<Fiber> all;
    for (std::int64_t f = 0; f < kCounters; ++f) {
      all.push_back(spawn("counts", [&] {
        for (std::int64_t i = 0; i < each; ++i) {
          const std::lock_guard guard(mutex);
          ++counted;
        }
      }));
    }
    for (Fiber& fiber : all) fiber.join();
  });
  expect(counted == each * kCounters, "mutex_contended");
  return seconds / static_cast<double>(counted);
}

// Round trips between two fibers, with a deadline on one of the waits or on none.
double waits(std::int64_t count, Deadline deadline) {
  Semaphore turn(0);
  Semaphore done(0);
  Fiber other = spawn("releases", [&] {
    for (std::int64_t i = 0; i < count; ++i) {
      turn.release();
      (void)done.acquire();
    }
  });
  const auto start = Clock::now();
  for (std::int64_t i = 0; i < count; ++i) {
    expect(turn.acquire(1, deadline).has_value(), "timer_arm_cancel");
    done.release();
  }
  const auto end = Clock::now();
  other.join();
  return std::chrono::duration<double>(end - start).count() / static_cast<double>(count);
}

double timer_arm_cancel(Runtime& runtime, std::int64_t count) {
  return runtime.block_on([=] {
    std::vector<Fiber> sleepers;
    for (int i = 0; i < 1000; ++i)
      sleepers.push_back(spawn("sleeps", [i] { (void)sleep_for(std::chrono::hours(1 + i)); }));
    yield();
    const double without = waits(count, Deadline::never());
    const double with = waits(count, Deadline::after(std::chrono::minutes(30)));
    for (Fiber& sleeper : sleepers) sleeper.request_stop();
    for (Fiber& sleeper : sleepers) sleeper.join();
    return with - without;
  });
}

double timer_storm(Runtime& runtime, std::int64_t fibers, std::int64_t each) {
  return on_fiber_seconds(runtime,
                          [=] {
                            std::vector<Fiber> all;
                            for (std::int64_t f = 0; f < fibers; ++f) {
                              all.push_back(spawn("sleeps", [=] {
                                std::minstd_rand random(static_cast<unsigned>(f) + 1);
                                for (std::int64_t i = 0; i < each; ++i)
                                  (void)sleep_for(std::chrono::nanoseconds(random() % 100'000));
                              }));
                            }
                            for (Fiber& fiber : all) fiber.join();
                          }) /
         static_cast<double>(fibers * each);
}

double thread_ring(Runtime& runtime, std::int64_t hops) {
  return on_fiber_seconds(runtime,
                          [=] {
                            std::vector<std::unique_ptr<Semaphore>> places;
                            for (std::int64_t f = 0; f < kRing; ++f) places.push_back(std::make_unique<Semaphore>(0));
                            std::vector<Fiber> all;
                            for (std::int64_t f = 0; f < kRing; ++f) {
                              all.push_back(spawn("ring", [&places, f, hops] {
                                Semaphore& mine = *places[static_cast<std::size_t>(f)];
                                Semaphore& next = *places[static_cast<std::size_t>((f + 1) % kRing)];
                                for (std::int64_t hop = f; hop < hops; hop += kRing) {
                                  (void)mine.acquire();
                                  next.release();
                                }
                              }));
                            }
                            places[0]->release();
                            for (Fiber& fiber : all) fiber.join();
                          }) /
         static_cast<double>(hops);
}

// --- The table ------------------------------------------------------------------------------------------------------

struct Row {
  const char* name;
  const char* unit;
  double per_second;  // units in a second
  unsigned workers;   // 0: as asked for
  std::function<double(Runtime&, std::int64_t scale)> run;
};

const double kNs = 1e9;

std::vector<Row> rows() {
  return {
      {"yield_2", "ns", kNs, 1,
       [](Runtime& runtime, std::int64_t scale) { return yields(runtime, 2, 2'000'000 / scale); }},
      {"yield_1000", "ns", kNs, 1,
       [](Runtime& runtime, std::int64_t scale) { return yields(runtime, 1000, 2'000'000 / scale); }},
      {"spawn_join", "ns", kNs, 0,
       [](Runtime& runtime, std::int64_t scale) { return spawn_join(runtime, 1'000'000 / scale); }},
      {"batch_100k", "ns", kNs, 0,
       [](Runtime& runtime, std::int64_t scale) { return batch(runtime, 100'000 / scale); }},
      {"batch_1m", "ns", kNs, 0,
       [](Runtime& runtime, std::int64_t scale) { return batch(runtime, 1'000'000 / scale); }},
      {"fib", "ns", kNs, 0, fib},
      {"fib_spawn", "ns", kNs, 0, [](Runtime& runtime, std::int64_t scale) { return fib_spawn(runtime, scale); }},
      {"nqueens", "ms", 1e3, 0, nqueens},
      {"skynet_1m", "ms", 1e3, 0, skynet},
      {"channel_same", "ns", kNs, 1,
       [](Runtime& runtime, std::int64_t scale) { return channel_round_trips(runtime, false, 500'000 / scale); }},
      {"channel_across", "ns", kNs, 2,
       [](Runtime& runtime, std::int64_t scale) { return channel_round_trips(runtime, true, 100'000 / scale); }},
      {"mutex_free", "ns", kNs, 0,
       [](Runtime& runtime, std::int64_t scale) { return mutex_free(runtime, 10'000'000 / scale); }},
      {"mutex_contended", "ns", kNs, 0,
       [](Runtime& runtime, std::int64_t scale) { return mutex_contended(runtime, 1'600'000 / scale); }},
      {"timer_arm_cancel", "ns", kNs, 1,
       [](Runtime& runtime, std::int64_t scale) { return timer_arm_cancel(runtime, 1'000'000 / scale); }},
      {"timer_storm", "ns", kNs, 0,
       [](Runtime& runtime, std::int64_t scale) {
         return timer_storm(runtime, 1000, std::max<std::int64_t>(1, 1000 / scale));
       }},
      {"thread_ring", "ns", kNs, 0,
       [](Runtime& runtime, std::int64_t scale) { return thread_ring(runtime, 1'000'000 / scale); }},
  };
}

long peak_kb() {
  long kb = 0;
  if (std::FILE* file = std::fopen("/proc/self/status", "r")) {
    std::array<char, 256> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr)
      if (std::strncmp(line.data(), "VmHWM:", 6) == 0) kb = std::atol(line.data() + 6);
    std::fclose(file);
  }
  return kb;
}

void run(const Row& row, const Settings& settings) {
  const unsigned workers = row.workers != 0 ? row.workers : settings.workers;
  auto runtime = Runtime::create({.workers = workers});
  if (!runtime) {
    std::fprintf(stderr, "sched_bench: %s\n", runtime.error().message().c_str());
    std::exit(1);
  }
  std::vector<double> took;
  (void)row.run(*runtime, settings.scale);
  for (int i = 0; i < settings.rounds; ++i) took.push_back(row.run(*runtime, settings.scale) * row.per_second);
  std::sort(took.begin(), took.end());
  const double median = took[took.size() / 2];
  if (settings.json) {
    std::printf(R"({"row":"%s","unit":"%s","min":%.3f,"median":%.3f,"rounds":%d,"workers":%u,"peak_kb":%ld})"
                "\n",
                row.name, row.unit, took.front(), median, settings.rounds, workers, peak_kb());
  } else {
    std::printf("%-18s %10.2f %10.2f %s   %u workers, peak %ld KiB\n", row.name, took.front(), median, row.unit,
                workers, peak_kb());
  }
  std::fflush(stdout);
}

// In a process of its own, so that what an earlier row has left in the heap is not in the peak of this one.
void run_apart(const Row& row, const Settings& settings) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    run(row, settings);
    std::exit(0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
    std::fprintf(stderr, "sched_bench: row %s did not come to its end\n", row.name);
    std::exit(1);
  }
}

std::vector<std::string> split(std::string_view list) {
  std::vector<std::string> parts;
  while (!list.empty()) {
    const std::size_t comma = std::min(list.find(','), list.size());
    parts.emplace_back(list.substr(0, comma));
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return parts;
}

int main_of(int count, char** words) {
  Settings settings;
  for (int i = 1; i < count; ++i) {
    const std::string_view word = words[i];
    const auto number = [&] { return i + 1 < count ? std::atoll(words[++i]) : 0; };
    if (word == "--only" && i + 1 < count) {
      settings.only = split(words[++i]);
    } else if (word == "--rounds") {
      settings.rounds = static_cast<int>(std::max(1LL, number()));
    } else if (word == "--workers") {
      settings.workers = static_cast<unsigned>(std::max(1LL, number()));
    } else if (word == "--scale") {
      settings.scale = std::max(1LL, number());
    } else if (word == "--json") {
      settings.json = true;
    } else if (word == "--list") {
      for (const Row& row : rows()) std::printf("%s\n", row.name);
      return 0;
    } else {
      std::fprintf(stderr,
                   "usage: sched_bench [--only ROW,...] [--rounds N] [--workers N] [--scale N] [--json] [--list]\n");
      return 2;
    }
  }
  const std::vector<Row> all = rows();
  for (const std::string& name : settings.only) {
    if (std::none_of(all.begin(), all.end(), [&](const Row& row) { return name == row.name; })) {
      std::fprintf(stderr, "sched_bench: no row \"%s\" (--list)\n", name.c_str());
      return 2;
    }
  }
  if (!settings.json) std::printf("%-18s %10s %10s\n", "row", "min", "median");
  for (const Row& row : all)
    if (settings.only.empty() || std::find(settings.only.begin(), settings.only.end(), row.name) != settings.only.end())
      run_apart(row, settings);
  return 0;
}

}  // namespace
}  // namespace weft::sched

int main(int count, char** words) { return weft::sched::main_of(count, words); }
