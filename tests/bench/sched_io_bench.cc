// sched_io_bench.cc - the scheduler's side of what sched.sh measures with sockets and files.
//
//   sched_io echo [--workers N]                              prints its port, and serves until it is killed
//   sched_io read --file F --depth N --seconds S             random reads of 4 KiB, N fibers on one worker: IOPS, processors used
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "sched/io.h"
#include "sched/listener.h"
#include "sched/runtime.h"
#include "sched/stream.h"
#include "sched/task.h"

namespace weft::sched {
namespace {

int echo(unsigned workers) {
  auto runtime = Runtime::create({.name = "echo", .workers = workers});
  if (!runtime) return 1;
  const Status ended = runtime->block_on([]() -> Status {
    io::Listener listener = TRY(io::Listener::listen(io::Address::ipv4_loopback(0)));
    std::printf("%d\n", TRY(listener.local_address()).port());
    std::fflush(stdout);
    for (;;) {
      spawn("connection", [stream = TRY(listener.accept())]() mutable {
        std::array<std::byte, 4096> bytes;
        for (;;) {
          const auto got = stream.read_some(bytes);
          if (!got || *got == 0 || !stream.write_all(std::span(bytes).first(*got))) break;
        }
      }).detach();
    }
  });
  return ended ? 0 : 1;
}

int random_reads(const std::string& path, int depth, double seconds) {
  const int file = ::open(path.c_str(), O_RDONLY | O_DIRECT | O_CLOEXEC);
  struct stat status{};
  auto runtime = Runtime::create({.workers = 1});
  if (file < 0 || ::fstat(file, &status) != 0 || !runtime) return 1;
  const auto blocks = static_cast<std::uint64_t>(status.st_size) / 4096;
  const auto start = std::chrono::steady_clock::now();
  const std::int64_t done = runtime->block_on([&] {
    bool over = false;  // one worker
    std::vector<Task<std::int64_t>> readers;
    for (int i = 0; i < depth; ++i) {
      readers.push_back(sched::start("reads", [&, i] {
        auto* place = static_cast<std::byte*>(std::aligned_alloc(4096, 4096));
        std::mt19937_64 random(static_cast<unsigned>(i) + 1);
        std::int64_t mine = 0;
        for (; !over; ++mine) {
          const auto got = io::read(file, {place, 4096}, random() % blocks * 4096);
          if (!got || *got != 4096) std::abort();
        }
        std::free(place);
        return mine;
      }));
    }
    (void)sleep_for(std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::duration<double>(seconds)));
    over = true;
    std::int64_t sum = 0;
    for (auto& reader : readers) sum += reader.join();
    return sum;
  });
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto total = [](timeval t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  std::printf("{\"iops\":%.0f,\"cpu\":%.3f}\n", static_cast<double>(done) / took,
              (total(used.ru_utime) + total(used.ru_stime)) / took);
  return 0;
}

}  // namespace
}  // namespace weft::sched

int main(int count, char** words) {
  const std::string what = count > 1 ? words[1] : "";
  std::map<std::string, std::string> options{{"--workers", "2"}, {"--depth", "1"}, {"--seconds", "1"}};
  for (int i = 2; i + 1 < count; i += 2) options[words[i]] = words[i + 1];
  if (what == "echo") return weft::sched::echo(static_cast<unsigned>(std::atoi(options["--workers"].c_str())));
  if (what == "read")
    return weft::sched::random_reads(options["--file"], std::atoi(options["--depth"].c_str()),
                                     std::atof(options["--seconds"].c_str()));
  std::puts("sched_io is called by tests/bench/sched.sh: sched_io echo | read");
  return 0;
}
