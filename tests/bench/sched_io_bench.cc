// sched_io_bench.cc - the scheduler's side of what sched.sh measures with sockets and files.
//
//   sched_io echo [--workers N]                              prints its port, and serves until it is killed
//   sched_io read --file F --depth N --seconds S             random reads of 4 KiB, N fibers on one worker: IOPS, processors used
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sched/io.h"
#include "sched/runtime.h"
#include "sched/task.h"

namespace weft::sched {
namespace {

void serve(int connection) {
  std::array<std::byte, 4096> bytes;
  for (;;) {
    const auto got = io::read_some(connection, bytes);
    if (!got || *got == 0) break;
    const auto sent = io::write_some(connection, std::span(bytes).first(*got));
    if (!sent || *sent != *got) break;
  }
  ::close(connection);
}

int echo(unsigned workers) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  if (::bind(listener, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener, 4096) != 0) return 1;
  ::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size);
  auto runtime = Runtime::create({.name = "echo", .workers = workers});
  if (!runtime) return 1;
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  runtime->block_on([listener] {
    for (;;) {
      if (!io::wait_readable(listener)) return;
      const int connection = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection >= 0) spawn("connection", [connection] { serve(connection); }).detach();
    }
  });
  return 0;
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
