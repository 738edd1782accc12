// fs_ops_bench.cc - small operations on a mounted file system, timed: the load behind the table of tests/bench/fs.sh.
//
// One phase after the other over the same set of files, in an order shuffled by a fixed seed, so that neither the order
// of creation nor of the directory helps. Prints one JSON object a phase: name, operations, seconds, rate, median and
// 99th percentile of the latency of one operation in microseconds.
//
// Usage: fs_ops DIR [--files N] [--threads N] [--sync-ops N] PHASE...
//   create      open(O_CREAT|O_EXCL), close              readdir   entries, of whole listings
//   write       open, pwrite of 4 KiB, close             rename    into another folder
//   stat open   of each file                             unlink    of each file
//   durable     create, write 4 KiB, fsync, close; by each thread in the one folder
//   append      4 KiB to one file a thread, fsync
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {
using Clock = std::chrono::steady_clock;
constexpr std::size_t kBlockBytes = 4096;

struct Settings {
  std::string dir;
  int files = 10000;
  int threads = 1;
  int sync_ops = 1000;
};
Settings g_settings;

[[noreturn]] void die(const char* what, const std::string& path) {
  std::fprintf(stderr, "fs_ops: %s %s: %s\n", what, path.c_str(), std::strerror(errno));
  std::exit(1);
}
std::string file(int i) { return g_settings.dir + "/files/" + std::to_string(i); }
std::string renamed(int i) { return g_settings.dir + "/renamed/" + std::to_string(i); }

void report(const std::string& phase, int threads, std::vector<float>& latencies_us, double seconds) {
  std::sort(latencies_us.begin(), latencies_us.end());
  const std::size_t n = latencies_us.size();
  const float p50 = n == 0 ? 0 : latencies_us[n / 2], p99 = n == 0 ? 0 : latencies_us[std::min(n - 1, n * 99 / 100)];
  std::printf(
      "{\"phase\":\"%s\",\"threads\":%d,\"ops\":%zu,\"seconds\":%.4f,\"rate\":%.1f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n",
      phase.c_str(), threads, n, seconds, static_cast<double>(n) / seconds, static_cast<double>(p50),
      static_cast<double>(p99));
  std::fflush(stdout);
}

// Runs body(thread, operation) `each` times in every thread, and times every call.
void timed(const std::string& phase, int threads, int each, const std::function<void(int, int)>& body) {
  std::vector<std::vector<float>> latencies(static_cast<std::size_t>(threads));
  std::vector<std::thread> pool;
  std::atomic<bool> go{false};
  for (int t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      auto& mine = latencies[static_cast<std::size_t>(t)];
      mine.reserve(static_cast<std::size_t>(each));
      while (!go) std::this_thread::yield();
      for (int i = 0; i < each; ++i) {
        const auto begin = Clock::now();
        body(t, i);
        mine.push_back(std::chrono::duration<float, std::micro>(Clock::now() - begin).count());
      }
    });
  }
  const auto begin = Clock::now();
  go = true;
  for (auto& thread : pool) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::vector<float> all;
  for (const auto& mine : latencies) all.insert(all.end(), mine.begin(), mine.end());
  report(phase, threads, all, seconds);
}

int opened(const std::string& path, int flags) {
  const int fd = open(path.c_str(), flags | O_CLOEXEC, 0644);
  if (fd < 0) die("open", path);
  return fd;
}
void put(int fd, const std::string& block, const std::string& path) {
  if (write(fd, block.data(), block.size()) != static_cast<ssize_t>(block.size())) die("write", path);
}

void readdir_phase(const std::string& name) {
  // A listing is one operation of the clock; its entries are what counts.
  std::vector<float> per_entry;
  const auto begin = Clock::now();
  int rounds = 0;
  do {
    const std::string path = g_settings.dir + "/files";
    DIR* stream = opendir(path.c_str());
    if (stream == nullptr) die("opendir", path);
    const auto start = Clock::now();
    std::size_t entries = 0;
    while (readdir(stream) != nullptr) ++entries;
    closedir(stream);
    const float each =
        std::chrono::duration<float, std::micro>(Clock::now() - start).count() / static_cast<float>(entries);
    per_entry.insert(per_entry.end(), entries, each);
  } while (++rounds < 5 && Clock::now() - begin < std::chrono::seconds(2));
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  report(name, 1, per_entry, seconds);
}

void run(const std::string& phase) {
  std::vector<int> order(static_cast<std::size_t>(g_settings.files));
  for (int i = 0; i < g_settings.files; ++i) order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), std::mt19937(7));
  const auto at = [&](int i) { return order[static_cast<std::size_t>(i)]; };
  const std::string block(kBlockBytes, 'w');
  const int n = g_settings.files, threads = g_settings.threads;
  if (phase == "create")
    return timed(phase, 1, n, [&](int, int i) { close(opened(file(at(i)), O_WRONLY | O_CREAT | O_EXCL)); });
  if (phase == "write")
    return timed(phase, 1, n, [&](int, int i) {
      const int fd = opened(file(at(i)), O_WRONLY);
      put(fd, block, file(at(i)));
      close(fd);
    });
  if (phase == "stat")
    return timed(phase, 1, n, [&](int, int i) {
      struct stat info{};
      if (stat(file(at(i)).c_str(), &info) != 0) die("stat", file(at(i)));
    });
  if (phase == "open") return timed(phase, 1, n, [&](int, int i) { close(opened(file(at(i)), O_RDONLY)); });
  if (phase == "readdir") return readdir_phase(phase);
  if (phase == "rename")
    return timed(phase, 1, n, [&](int, int i) {
      if (rename(file(at(i)).c_str(), renamed(at(i)).c_str()) != 0) die("rename", file(at(i)));
    });
  if (phase == "unlink")
    return timed(phase, 1, n, [&](int, int i) {
      if (unlink(renamed(at(i)).c_str()) != 0) die("unlink", renamed(at(i)));
    });
  if (phase == "durable") {
    const std::string tag = g_settings.dir + "/durable/" + std::to_string(threads) + ".";
    return timed(phase, threads, g_settings.sync_ops, [&](int t, int i) {
      const std::string path = tag + std::to_string(t) + "." + std::to_string(i);
      const int fd = opened(path, O_WRONLY | O_CREAT | O_EXCL);
      put(fd, block, path);
      if (fsync(fd) != 0) die("fsync", path);
      close(fd);
    });
  }
  if (phase == "append") {
    std::vector<int> fds;
    for (int t = 0; t < threads; ++t)
      fds.push_back(opened(g_settings.dir + "/append." + std::to_string(threads) + "." + std::to_string(t),
                           O_WRONLY | O_CREAT | O_APPEND));
    timed(phase, threads, g_settings.sync_ops, [&](int t, int) {
      put(fds[static_cast<std::size_t>(t)], block, "append");
      if (fsync(fds[static_cast<std::size_t>(t)]) != 0) die("fsync", "append");
    });
    for (const int fd : fds) close(fd);
    return;
  }
  std::fprintf(stderr, "fs_ops: no such phase: %s\n", phase.c_str());
  std::exit(2);
}
}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> phases;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto number = [&] { return i + 1 < argc ? std::atoi(argv[++i]) : 0; };
    if (argument == "--files")
      g_settings.files = number();
    else if (argument == "--threads")
      g_settings.threads = number();
    else if (argument == "--sync-ops")
      g_settings.sync_ops = number();
    else if (g_settings.dir.empty())
      g_settings.dir = argument;
    else
      phases.push_back(argument);
  }
  if (phases.empty() || g_settings.files < 1 || g_settings.threads < 1 || g_settings.sync_ops < 1) {
    std::fprintf(stderr, "usage: fs_ops DIR [--files N] [--threads N] [--sync-ops N] PHASE...\n");
    return 2;
  }
  for (const char* each : {"/files", "/renamed", "/durable"}) {
    const std::string path = g_settings.dir + each;
    if (mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) die("mkdir", path);
  }
  for (const auto& phase : phases) run(phase);
  return 0;
}
