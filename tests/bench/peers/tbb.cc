// tbb.cc - the rows of tests/bench/sched_bench.cc by oneTBB: forks and joins; it has no fibers that could wait.
#include <oneapi/tbb/mutex.h>
#include <tbb/global_control.h>
#include <tbb/task_arena.h>
#include <tbb/task_group.h>

#include "tests/bench/peers/peer.h"

namespace {

using peer::expect;
using peer::seconds_of;

// What is started on an arena of that many threads, and their start not counted.
template <typename Work>
double on_arena(unsigned workers, Work work) {
  const tbb::global_control limit(tbb::global_control::max_allowed_parallelism, workers);
  tbb::task_arena arena(static_cast<int>(workers));
  return arena.execute([&] {
    tbb::task_group warm;
    for (int i = 0; i < 1000; ++i) warm.run([] {});
    warm.wait();
    return seconds_of(work);
  });
}

double spawn_join(unsigned workers, std::int64_t count) {
  return on_arena(workers,
                  [=] {
                    tbb::task_group group;
                    for (std::int64_t i = 0; i < count; ++i) {
                      group.run([] {});
                      group.wait();
                    }
                  }) /
         static_cast<double>(count);
}

double batch(unsigned workers, std::int64_t count) {
  return on_arena(workers,
                  [=] {
                    tbb::task_group group;
                    for (std::int64_t i = 0; i < count; ++i) group.run([] {});
                    group.wait();
                  }) /
         static_cast<double>(count);
}

std::int64_t fib_of(int n) {
  if (n < 2) return n;
  std::int64_t left = 0;
  tbb::task_group group;
  group.run([&left, n] { left = fib_of(n - 1); });
  const std::int64_t right = fib_of(n - 2);
  group.wait();
  return left + right;
}

double fib(unsigned workers, std::int64_t scale) {
  const int n = scale > 1 ? 12 : 30;
  return on_arena(workers, [=] { expect(fib_of(n) == (scale > 1 ? 144 : 832040), "fib"); }) /
         (scale > 1 ? 232.0 : 1346268.0);
}

std::int64_t queens_from(int size, int row, const std::array<signed char, 16>& columns) {
  if (row == size) return 1;
  std::array<std::int64_t, 16> found{};
  tbb::task_group group;
  for (int column = 0; column < size; ++column) {
    if (!peer::safe(columns, row, column)) continue;
    group.run([&found, columns, size, row, column] {
      std::array<signed char, 16> board = columns;
      board[row] = static_cast<signed char>(column);
      found[column] = queens_from(size, row + 1, board);
    });
  }
  group.wait();
  std::int64_t sum = 0;
  for (const std::int64_t each : found) sum += each;
  return sum;
}

double nqueens(unsigned workers, std::int64_t scale) {
  return on_arena(workers,
                  [=] { expect(queens_from(peer::queens(scale), 0, {}) == peer::solutions(scale), "nqueens"); });
}

std::int64_t skynet_of(std::int64_t first, std::int64_t size) {
  if (size == 1) return first;
  std::array<std::int64_t, 10> sums{};
  tbb::task_group group;
  for (int child = 0; child < 10; ++child)
    group.run([&sums, first, size, child] { sums[child] = skynet_of(first + child * (size / 10), size / 10); });
  group.wait();
  std::int64_t sum = 0;
  for (const std::int64_t each : sums) sum += each;
  return sum;
}

double skynet(unsigned workers, std::int64_t scale) {
  const std::int64_t leaves = peer::leaves(scale);
  return on_arena(workers, [=] { expect(skynet_of(0, leaves) == leaves * (leaves - 1) / 2, "skynet"); });
}

double mutex_free(unsigned workers, std::int64_t count) {
  return on_arena(workers,
                  [=] {
                    tbb::mutex mutex;
                    for (std::int64_t i = 0; i < count; ++i) {
                      mutex.lock();
                      mutex.unlock();
                    }
                  }) /
         static_cast<double>(count);
}

double mutex_contended(unsigned workers, std::int64_t count) {
  std::int64_t counted = 0;
  const double seconds = on_arena(workers, [&] {
    tbb::mutex mutex;
    tbb::task_group group;
    for (int task = 0; task < peer::kCounters; ++task)
      group.run([&] {
        for (std::int64_t i = 0; i < count / peer::kCounters; ++i) {
          const tbb::mutex::scoped_lock guard(mutex);
          ++counted;
        }
      });
    group.wait();
  });
  expect(counted == count / peer::kCounters * peer::kCounters, "mutex_contended");
  return seconds / static_cast<double>(counted);
}

}  // namespace

int main(int count, char** words) {
  return peer::run_rows(
      {
          {"spawn_join", "ns", 0, [](unsigned w, std::int64_t s) { return spawn_join(w, 1'000'000 / s); }},
          {"batch_100k", "ns", 0, [](unsigned w, std::int64_t s) { return batch(w, 100'000 / s); }},
          {"batch_1m", "ns", 0, [](unsigned w, std::int64_t s) { return batch(w, 1'000'000 / s); }},
          {"fib", "ns", 0, fib},
          {"nqueens", "ms", 0, nqueens},
          {"skynet_1m", "ms", 0, skynet},
          {"mutex_free", "ns", 0, [](unsigned w, std::int64_t s) { return mutex_free(w, 10'000'000 / s); }},
          {"mutex_contended", "ns", 0, [](unsigned w, std::int64_t s) { return mutex_contended(w, 1'600'000 / s); }},
      },
      count, words);
}
