// soak_watch.cc - looks at a server every few seconds while others load it, prints a line a minute, and judges at the end.
//
//   soak.sh -> [soak_watch] -> /proc/PID, the server's metrics file, the counters of soak_load
//
// The judgement
//   W1  the most memory that the server ever had is within what it was allowed
//   W2  in the second half memory does not trend upwards by more than --rise MiB. By then every cache is full, and what is left is
//       which of them the load just fills: a thirty-second of what it is allowed is enough for that, and a leak of one byte in each
//       request of half an hour is more. Shorter runs, which are still filling caches, need more.
//   W3  the server has as many descriptors at the end as at the start
//
// Usage: soak_watch PID STATE --memory MIB --rise MIB --metrics FILE [--every SECONDS] [--line SECONDS]
// Until STATE/done appears; what is sampled from then on, with the load over, is for W3 only. Exit: 0 well, 1 not so.
#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

namespace {

struct Sample {
  double seconds = 0;
  double memory_mib = 0;
};

std::uint64_t status_number(const std::string& pid, const std::string& field) {
  std::ifstream status("/proc/" + pid + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::strtoull(line.c_str() + field.size() + 1, nullptr, 10);
  }
  return 0;
}

int descriptors(const std::string& pid) {
  DIR* dir = opendir(("/proc/" + pid + "/fd").c_str());
  if (dir == nullptr) return -1;
  int found = 0;
  while (const dirent* entry = readdir(dir)) found += entry->d_name[0] != '.';
  closedir(dir);
  return found;
}

// A line "NAME VALUE" of a metrics file in text form.
std::uint64_t metric(const std::string& file, const std::string& name) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(name + " ")) return std::strtoull(line.c_str() + name.size(), nullptr, 10);
  }
  return 0;
}

// Of the line through the samples (least squares), in MiB a second.
double slope(const std::vector<Sample>& samples) {
  double x = 0, y = 0, xx = 0, xy = 0;
  const auto n = static_cast<double>(samples.size());
  for (const Sample& each : samples) {
    x += each.seconds, y += each.memory_mib;
    xx += each.seconds * each.seconds, xy += each.seconds * each.memory_mib;
  }
  const double spread = n * xx - x * x;
  return spread == 0 ? 0 : (n * xy - x * y) / spread;
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) {
    std::fprintf(
        stderr,
        "usage: soak_watch PID STATE --memory MIB --rise MIB --metrics FILE [--every SECONDS] [--line SECONDS]\n");
    return 2;
  }
  const std::string pid = words[1], state = words[2];
  std::string metrics;
  double memory_mib = 0, rise_mib = 0;
  int every = 5, line = 60;
  for (int i = 3; i + 1 < count; i += 2) {
    const std::string option = words[i];
    if (option == "--metrics") metrics = words[i + 1];
    if (option == "--memory") memory_mib = std::atof(words[i + 1]);
    if (option == "--rise") rise_mib = std::atof(words[i + 1]);
    if (option == "--every") every = std::atoi(words[i + 1]);
    if (option == "--line") line = std::atoi(words[i + 1]);
  }
  const int fd = open((state + "/counters").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  constexpr int kCounters = 5;  // operations, made, removed, live, verified
  if (fd < 0 || ftruncate(fd, kCounters * sizeof(std::uint64_t)) != 0) return std::perror("counters"), 2;
  void* mapped = mmap(nullptr, kCounters * sizeof(std::uint64_t), PROT_READ, MAP_SHARED, fd, 0);
  if (mapped == MAP_FAILED) return std::perror("counters"), 2;
  const auto* counters = static_cast<const std::atomic<std::uint64_t>*>(mapped);

  const int descriptors_before = descriptors(pid);
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  std::vector<Sample> samples;
  std::uint64_t operations_before = 0;
  double printed = 0;
  std::printf("%8s %10s %10s %8s %8s %8s %8s %8s %10s\n", "minute", "live", "made", "ops/s", "RSS MiB", "fds",
              "threads", "inodes", "referred");
  while (access((state + "/done").c_str(), F_OK) != 0) {
    std::this_thread::sleep_for(std::chrono::seconds(every));
    const std::uint64_t resident = status_number(pid, "VmRSS");
    if (resident == 0) return std::fprintf(stderr, "the server is gone\n"), 1;
    samples.push_back({seconds(), static_cast<double>(resident) / 1024});
    if (seconds() - printed < line) continue;
    const std::uint64_t operations = counters[0];
    std::printf("%8.1f %10lu %10lu %8.0f %8.1f %8d %8lu %8lu %10lu\n", seconds() / 60, counters[3].load(),
                counters[1].load(), static_cast<double>(operations - operations_before) / (seconds() - printed),
                samples.back().memory_mib, descriptors(pid), status_number(pid, "Threads"),
                metric(metrics, "fs.inodes.cached"), metric(metrics, "fs.inodes.referred"));
    std::fflush(stdout);
    operations_before = operations;
    printed = seconds();
  }
  const double most = static_cast<double>(status_number(pid, "VmHWM")) / 1024;
  const double half = seconds() / 2;
  std::erase_if(samples, [&](const Sample& each) { return each.seconds < half; });
  const double rise = slope(samples) * half;
  int descriptors_after = descriptors(pid);
  for (int tries = 0; tries < 20 && descriptors_after != descriptors_before;
       ++tries, descriptors_after = descriptors(pid)) {
    std::this_thread::sleep_for(
        std::chrono::milliseconds(500));  // threads that idle end, and with them what they have open
  }
  bool well = true;
  const auto judge = [&](bool holds, const std::string& what) {
    std::printf("%s %s\n", holds ? "  holds " : "  BROKEN", what.c_str());
    well = well && holds;
  };
  char text[300];
  std::snprintf(text, sizeof text, "W1 at most %.1f MiB of memory, %.0f allowed", most, memory_mib);
  judge(most <= memory_mib, text);
  std::snprintf(text, sizeof text, "W2 in the second half it went up by %.1f MiB, %.1f allowed", rise, rise_mib);
  judge(rise <= rise_mib, text);
  std::snprintf(text, sizeof text, "W3 %d descriptors at the start, %d at the end", descriptors_before,
                descriptors_after);
  judge(descriptors_before == descriptors_after, text);
  std::printf("%lu operations; %lu names made, %lu removed; %lu files verified\n", counters[0].load(),
              counters[1].load(), counters[2].load(), counters[4].load());
  return well ? 0 : 1;
}
