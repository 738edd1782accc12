// boost_fiber.cc - the rows of tests/bench/sched_bench.cc by Boost.Fiber: round_robin on one thread, work_stealing on several.
//
// It has no forks: fib is by fibers, and by 28,656 of them, as its queue is first in first out and would hold a million stacks.
#include <boost/fiber/all.hpp>
#include <memory>
#include <random>
#include <thread>
#include <utility>

#include "tests/bench/peers/peer.h"

namespace {

namespace fibers = boost::fibers;
using peer::expect;
using peer::seconds_of;

// Threads that steal from each other; the calling one, which is main's, takes part. A process runs rows of one number of threads, and
// ends without waiting for the others. The fibers' default stack (128 KiB) is as large as ours.
void with_threads(unsigned workers) {
  static bool there = false;
  if (std::exchange(there, true) || workers < 2) return;
  for (unsigned i = 1; i < workers; ++i)
    std::thread([workers] {
      fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
      fibers::mutex lock;
      fibers::condition_variable never;
      std::unique_lock guard(lock);
      never.wait(guard, [] { return false; });
    }).detach();
  fibers::use_scheduling_algorithm<fibers::algo::work_stealing>(workers, true);
}

double yields(std::int64_t count, std::int64_t total) {
  const std::int64_t each = std::max<std::int64_t>(1, total / count);
  return seconds_of([=] {
           std::vector<fibers::fiber> all;
           for (std::int64_t f = 0; f < count; ++f)
             all.emplace_back([each] {
               for (std::int64_t i = 0; i < each; ++i) boost::this_fiber::yield();
             });
           for (auto& fiber : all) fiber.join();
         }) /
         static_cast<double>(each * count);
}

double spawn_join(unsigned workers, std::int64_t count) {
  with_threads(workers);
  return seconds_of([=] {
           for (std::int64_t i = 0; i < count; ++i) fibers::fiber([] {}).join();
         }) /
         static_cast<double>(count);
}

double batch(unsigned workers, std::int64_t count) {
  with_threads(workers);
  std::vector<fibers::fiber> all;
  all.reserve(static_cast<std::size_t>(count));
  return seconds_of([&] {
           for (std::int64_t i = 0; i < count; ++i) all.emplace_back([] {});
           for (auto& fiber : all) fiber.join();
         }) /
         static_cast<double>(count);
}

std::int64_t fib_of(int n) {
  if (n < 2) return n;
  std::int64_t left = 0;
  fibers::fiber child([&left, n] { left = fib_of(n - 1); });
  const std::int64_t right = fib_of(n - 2);
  child.join();
  return left + right;
}

double fib(unsigned workers, std::int64_t scale) {
  with_threads(workers);
  const int n = scale > 1 ? 12 : 22;
  return seconds_of([=] { expect(fib_of(n) == (scale > 1 ? 144 : 17711), "fib"); }) / (scale > 1 ? 232.0 : 28656.0);
}

std::int64_t queens_from(int size, int row, const std::array<signed char, 16>& columns) {
  if (row == size) return 1;
  std::array<std::int64_t, 16> found{};
  std::vector<fibers::fiber> children;
  for (int column = 0; column < size; ++column) {
    if (!peer::safe(columns, row, column)) continue;
    children.emplace_back([&found, board = columns, size, row, column]() mutable {
      board[row] = static_cast<signed char>(column);
      found[column] = queens_from(size, row + 1, board);
    });
  }
  for (auto& child : children) child.join();
  std::int64_t sum = 0;
  for (const std::int64_t each : found) sum += each;
  return sum;
}

double nqueens(unsigned workers, std::int64_t scale) {
  with_threads(workers);
  return seconds_of([=] { expect(queens_from(peer::queens(scale), 0, {}) == peer::solutions(scale), "nqueens"); });
}

std::int64_t skynet_of(std::int64_t first, std::int64_t size) {
  if (size == 1) return first;
  std::array<std::int64_t, 10> sums{};
  std::vector<fibers::fiber> children;
  for (int child = 0; child < 10; ++child)
    children.emplace_back(
        [&sums, first, size, child] { sums[child] = skynet_of(first + child * (size / 10), size / 10); });
  for (auto& child : children) child.join();
  std::int64_t sum = 0;
  for (const std::int64_t each : sums) sum += each;
  return sum;
}

// On one thread, as with several it crashes on machines that limit mappings; that is its better time, too.
double skynet(unsigned, std::int64_t scale) {
  const std::int64_t leaves = peer::leaves(scale);
  return seconds_of([=] { expect(skynet_of(0, leaves) == leaves * (leaves - 1) / 2, "skynet"); });
}

// The smallest buffered channel holds one value: its capacity is a power of two, of which one place stays free.
using Channel = fibers::buffered_channel<int>;

double channel(bool across, std::int64_t count) {
  Channel there(2);
  Channel back(2);
  std::int64_t sum = 0;
  const auto first = [&] {
    int value = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      there.push(1);
      back.pop(value);
      sum += value;
    }
  };
  const auto second = [&] {
    int value = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      there.pop(value);
      back.push(value);
    }
  };
  const double seconds = seconds_of([&] {
    if (across) {
      std::thread other(second);
      first();
      other.join();
    } else {
      fibers::fiber a(first);
      fibers::fiber b(second);
      a.join();
      b.join();
    }
  });
  expect(sum == count, "channel");
  return seconds / static_cast<double>(count);
}

double mutex_free(std::int64_t count) {
  return seconds_of([=] {
           fibers::mutex mutex;
           for (std::int64_t i = 0; i < count; ++i) {
             mutex.lock();
             mutex.unlock();
           }
         }) /
         static_cast<double>(count);
}

double mutex_contended(unsigned workers, std::int64_t count) {
  with_threads(workers);
  std::int64_t counted = 0;
  const double seconds = seconds_of([&] {
    fibers::mutex mutex;
    std::vector<fibers::fiber> all;
    for (int f = 0; f < peer::kCounters; ++f)
      all.emplace_back([&] {
        for (std::int64_t i = 0; i < count / peer::kCounters; ++i) {
          const std::lock_guard guard(mutex);
          ++counted;
        }
      });
    for (auto& fiber : all) fiber.join();
  });
  expect(counted == count / peer::kCounters * peer::kCounters, "mutex_contended");
  return seconds / static_cast<double>(counted);
}

double waits(std::int64_t count, bool deadline) {
  Channel turn(2);
  Channel done(2);
  fibers::fiber other([&] {
    int value = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      turn.push(1);
      done.pop(value);
    }
  });
  const auto far = std::chrono::steady_clock::now() + std::chrono::minutes(30);
  const double seconds = seconds_of([&] {
    int value = 0;
    for (std::int64_t i = 0; i < count; ++i) {
      if (deadline) {
        turn.pop_wait_until(value, far);
      } else {
        turn.pop(value);
      }
      done.push(1);
    }
  });
  other.join();
  return seconds / static_cast<double>(count);
}

// What a deadline adds, among 1,000 fibers that sleep until later ones.
double timer_arm_cancel(std::int64_t count) {
  constexpr int kSleepers = 1000;
  fibers::mutex lock;
  fibers::condition_variable wake;
  bool awake = false;
  const auto start = std::chrono::steady_clock::now();
  std::vector<fibers::fiber> sleepers;
  for (int i = 0; i < kSleepers; ++i)
    sleepers.emplace_back([&, until = start + std::chrono::hours(1 + i)] {
      std::unique_lock guard(lock);
      wake.wait_until(guard, until, [&] { return awake; });
    });
  boost::this_fiber::yield();
  const double without = waits(count, false);
  const double with = waits(count, true);
  awake = true;
  wake.notify_all();
  for (auto& sleeper : sleepers) sleeper.join();
  return with - without;
}

double timer_storm(unsigned workers, std::int64_t each) {
  with_threads(workers);
  constexpr int kFibers = 1000;
  return seconds_of([=] {
           std::vector<fibers::fiber> all;
           for (int f = 0; f < kFibers; ++f)
             all.emplace_back([=] {
               std::minstd_rand random(static_cast<unsigned>(f) + 1);
               for (std::int64_t i = 0; i < each; ++i)
                 boost::this_fiber::sleep_for(std::chrono::nanoseconds(random() % 100'000));
             });
           for (auto& fiber : all) fiber.join();
         }) /
         static_cast<double>(kFibers * each);
}

// It has no semaphore; a channel of one value is the nearest.
double thread_ring(unsigned workers, std::int64_t hops) {
  with_threads(workers);
  return seconds_of([=] {
           std::vector<std::unique_ptr<Channel>> places;
           for (int f = 0; f < peer::kRing; ++f) places.push_back(std::make_unique<Channel>(2));
           std::vector<fibers::fiber> all;
           for (int f = 0; f < peer::kRing; ++f)
             all.emplace_back([&places, f, hops] {
               int token = 0;
               for (std::int64_t hop = f; hop < hops; hop += peer::kRing) {
                 places[static_cast<std::size_t>(f)]->pop(token);
                 places[static_cast<std::size_t>((f + 1) % peer::kRing)]->push(token);
               }
             });
           places[0]->push(1);
           for (auto& fiber : all) fiber.join();
         }) /
         static_cast<double>(hops);
}

}  // namespace

int main(int count, char** words) {
  const int status = peer::run_rows(
      {
          {"yield_2", "ns", 1, [](unsigned, std::int64_t s) { return yields(2, 2'000'000 / s); }},
          {"yield_1000", "ns", 1, [](unsigned, std::int64_t s) { return yields(1000, 2'000'000 / s); }},
          {"spawn_join", "ns", 0, [](unsigned w, std::int64_t s) { return spawn_join(w, 1'000'000 / s); }},
          {"batch_100k", "ns", 0, [](unsigned w, std::int64_t s) { return batch(w, 100'000 / s); }},
          {"batch_1m", "ns", 0, [](unsigned w, std::int64_t s) { return batch(w, 1'000'000 / s); }},
          {"fib", "ns", 0, fib},
          {"fib_spawn", "ns", 0, fib},
          {"nqueens", "ms", 0, nqueens},
          {"skynet_1m", "ms", 1, skynet},
          {"channel_same", "ns", 1, [](unsigned, std::int64_t s) { return channel(false, 500'000 / s); }},
          {"channel_across", "ns", 2, [](unsigned, std::int64_t s) { return channel(true, 100'000 / s); }},
          {"mutex_free", "ns", 0, [](unsigned, std::int64_t s) { return mutex_free(10'000'000 / s); }},
          {"mutex_contended", "ns", 0, [](unsigned w, std::int64_t s) { return mutex_contended(w, 1'600'000 / s); }},
          {"timer_arm_cancel", "ns", 1, [](unsigned, std::int64_t s) { return timer_arm_cancel(1'000'000 / s); }},
          {"timer_storm", "ns", 0,
           [](unsigned w, std::int64_t s) { return timer_storm(w, std::max<std::int64_t>(1, 1000 / s)); }},
          {"thread_ring", "ns", 0, [](unsigned w, std::int64_t s) { return thread_ring(w, 1'000'000 / s); }},
      },
      count, words);
  std::fflush(stdout);
  std::_Exit(status);
}
