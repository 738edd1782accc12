// std_thread.cc - the rows of tests/bench/sched_bench.cc by threads, mutexes and condition variables of the C++ library; a server
// that echoes with a thread for each connection; random reads with a thread for each request in flight.
//
//   std_thread --only ROW ...                                     as peer.h says
//   std_thread echo                                               prints its port, and serves until it is killed
//   std_thread read --file F --depth N --seconds S                prints IOPS and processor seconds as one JSON object
//
// Where a row says 1 thread, all threads share one processor. Batches of 100,000 threads are more than a machine lets one have.
#include <arpa/inet.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <semaphore>
#include <string_view>
#include <thread>

#include "tests/bench/peers/peer.h"

namespace {

using peer::expect;
using peer::seconds_of;

// While it lives, the calling thread and those it starts share one processor.
class OneProcessor {
 public:
  OneProcessor() {
    sched_getaffinity(0, sizeof(before_), &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &before_)) {
        CPU_SET(cpu, &one);
        break;
      }
    sched_setaffinity(0, sizeof(one), &one);
  }
  ~OneProcessor() { sched_setaffinity(0, sizeof(before_), &before_); }

 private:
  cpu_set_t before_;
};

void join_all(std::vector<std::thread>& threads) {
  for (std::thread& thread : threads) thread.join();
}

double yields(std::int64_t count, std::int64_t total) {
  const OneProcessor here;
  const std::int64_t each = std::max<std::int64_t>(1, total / count);
  return seconds_of([=] {
           std::vector<std::thread> all;
           for (std::int64_t t = 0; t < count; ++t)
             all.emplace_back([each] {
               for (std::int64_t i = 0; i < each; ++i) std::this_thread::yield();
             });
           join_all(all);
         }) /
         static_cast<double>(each * count);
}

double spawn_join(std::int64_t count) {
  return seconds_of([=] {
           for (std::int64_t i = 0; i < count; ++i) std::thread([] {}).join();
         }) /
         static_cast<double>(count);
}

class Channel {
 public:
  void send(int value) {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [this] { return !full_; });
    value_ = value;
    full_ = true;
    guard.unlock();
    changed_.notify_one();
  }
  int receive() {
    std::unique_lock guard(lock_);
    changed_.wait(guard, [this] { return full_; });
    full_ = false;
    const int value = value_;
    guard.unlock();
    changed_.notify_one();
    return value;
  }

 private:
  std::mutex lock_;
  std::condition_variable changed_;
  int value_ = 0;
  bool full_ = false;
};

double channel(std::int64_t count) {
  Channel there;
  Channel back;
  std::int64_t sum = 0;
  const double seconds = seconds_of([&] {
    std::thread other([&] {
      for (std::int64_t i = 0; i < count; ++i) back.send(there.receive());
    });
    for (std::int64_t i = 0; i < count; ++i) {
      there.send(1);
      sum += back.receive();
    }
    other.join();
  });
  expect(sum == count, "channel");
  return seconds / static_cast<double>(count);
}

double channel_same(std::int64_t count) {
  const OneProcessor here;
  return channel(count);
}

double mutex_free(std::int64_t count) {
  // Without a second thread the C++ library leaves its locks out.
  std::atomic<bool> over{false};
  std::thread second([&] { over.wait(false); });
  const double seconds = seconds_of([=] {
    std::mutex mutex;
    for (std::int64_t i = 0; i < count; ++i) {
      mutex.lock();
      mutex.unlock();
    }
  });
  over = true;
  over.notify_all();
  second.join();
  return seconds / static_cast<double>(count);
}

double mutex_contended(std::int64_t count) {
  std::int64_t counted = 0;
  const double seconds = seconds_of([&] {
    std::mutex mutex;
    std::vector<std::thread> all;
    for (int t = 0; t < peer::kCounters; ++t)
      all.emplace_back([&] {
        for (std::int64_t i = 0; i < count / peer::kCounters; ++i) {
          const std::lock_guard guard(mutex);
          ++counted;
        }
      });
    join_all(all);
  });
  expect(counted == count / peer::kCounters * peer::kCounters, "mutex_contended");
  return seconds / static_cast<double>(counted);
}

double timer_storm(std::int64_t each) {
  constexpr int kSleepers = 1000;
  return seconds_of([=] {
           std::vector<std::thread> all;
           for (int t = 0; t < kSleepers; ++t)
             all.emplace_back([=] {
               std::minstd_rand random(static_cast<unsigned>(t) + 1);
               for (std::int64_t i = 0; i < each; ++i)
                 std::this_thread::sleep_for(std::chrono::nanoseconds(random() % 100'000));
             });
           join_all(all);
         }) /
         static_cast<double>(kSleepers * each);
}

double thread_ring(std::int64_t hops) {
  return seconds_of([=] {
           std::vector<std::unique_ptr<std::binary_semaphore>> places;
           for (int t = 0; t < peer::kRing; ++t) places.push_back(std::make_unique<std::binary_semaphore>(0));
           std::vector<std::thread> all;
           for (int t = 0; t < peer::kRing; ++t)
             all.emplace_back([&places, t, hops] {
               for (std::int64_t hop = t; hop < hops; hop += peer::kRing) {
                 places[static_cast<std::size_t>(t)]->acquire();
                 places[static_cast<std::size_t>((t + 1) % peer::kRing)]->release();
               }
             });
           places[0]->release();
           join_all(all);
         }) /
         static_cast<double>(hops);
}

int echo() {
  const int listener = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listener, 4096) != 0) return 1;
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  for (;;) {
    const int connection = accept(listener, nullptr, nullptr);
    if (connection < 0) continue;
    std::thread([connection] {
      std::array<char, 4096> bytes;
      for (;;) {
        const ssize_t got = read(connection, bytes.data(), bytes.size());
        if (got <= 0 || write(connection, bytes.data(), static_cast<std::size_t>(got)) != got) break;
      }
      close(connection);
    }).detach();
  }
}

int random_reads(const char* path, int depth, double seconds) {
  const int file = open(path, O_RDONLY | O_DIRECT);
  struct stat status{};
  if (file < 0 || fstat(file, &status) != 0) return 1;
  const std::int64_t blocks = status.st_size / 4096;
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> done{0};
  const double took = seconds_of([&] {
    std::vector<std::thread> all;
    for (int t = 0; t < depth; ++t)
      all.emplace_back([&, t] {
        void* place = std::aligned_alloc(4096, 4096);
        std::mt19937_64 random(static_cast<unsigned>(t) + 1);
        std::int64_t mine = 0;
        for (; !over.load(std::memory_order_relaxed); ++mine)
          expect(pread(file, place, 4096, static_cast<off_t>(random() % static_cast<std::uint64_t>(blocks)) * 4096) ==
                     4096,
                 "read");
        done += mine;
        std::free(place);
      });
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    over = true;
    join_all(all);
  });
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto total = [](timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  std::printf("{\"iops\":%.0f,\"cpu\":%.3f}\n", static_cast<double>(done) / took,
              (total(used.ru_utime) + total(used.ru_stime)) / took);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  const std::string_view what = count > 1 ? words[1] : "";
  if (what == "echo") return echo();
  if (what == "read" && count == 8) return random_reads(words[3], std::atoi(words[5]), std::atof(words[7]));
  return peer::run_rows(
      {
          {"yield_2", "ns", 1, [](unsigned, std::int64_t s) { return yields(2, 2'000'000 / s); }},
          {"yield_1000", "ns", 1, [](unsigned, std::int64_t s) { return yields(1000, 2'000'000 / s); }},
          {"spawn_join", "ns", 0, [](unsigned, std::int64_t s) { return spawn_join(50'000 / s); }},
          {"channel_same", "ns", 1, [](unsigned, std::int64_t s) { return channel_same(200'000 / s); }},
          {"channel_across", "ns", 2, [](unsigned, std::int64_t s) { return channel(100'000 / s); }},
          {"mutex_free", "ns", 0, [](unsigned, std::int64_t s) { return mutex_free(10'000'000 / s); }},
          {"mutex_contended", "ns", 0, [](unsigned, std::int64_t s) { return mutex_contended(1'600'000 / s); }},
          {"timer_storm", "ns", 0,
           [](unsigned, std::int64_t s) { return timer_storm(std::max<std::int64_t>(1, 100 / s)); }},
          {"thread_ring", "ns", 0, [](unsigned, std::int64_t s) { return thread_ring(200'000 / s); }},
      },
      count, words);
}
