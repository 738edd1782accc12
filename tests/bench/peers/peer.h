// peer.h - what the peers' programs share: the options and the output of tests/bench/sched_bench.cc, whose rows they repeat.
//
// A row is a function that gives seconds for one operation; its name, unit and meaning are those of that file's table.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace peer {

struct Row {
  const char* name;
  const char* unit;  // ns or ms
  unsigned workers;  // 0: as asked for
  std::function<double(unsigned workers, std::int64_t scale)> run;
};

inline void expect(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "wrong result: %s\n", what);
  std::_Exit(1);
}

template <typename Work>
double seconds_of(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

inline long peak_kb() {
  long kb = 0;
  if (std::FILE* file = std::fopen("/proc/self/status", "r")) {
    std::array<char, 256> line{};
    while (std::fgets(line.data(), static_cast<int>(line.size()), file) != nullptr)
      if (std::strncmp(line.data(), "VmHWM:", 6) == 0) kb = std::atol(line.data() + 6);
    std::fclose(file);
  }
  return kb;
}

// --only ROW, --rounds N, --workers N, --scale N, --list; one JSON object a row.
inline int run_rows(const std::vector<Row>& rows, int count, char** words) {
  std::string only;
  int rounds = 7;
  unsigned workers = 2;
  std::int64_t scale = 1;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    const char* value = i + 1 < count ? words[i + 1] : "";
    if (word == "--list") {
      for (const Row& row : rows) std::puts(row.name);
      return 0;
    }
    if (word == "--json") continue;
    ++i;
    if (word == "--only") only = value;
    if (word == "--rounds") rounds = std::max(1, std::atoi(value));
    if (word == "--workers") workers = static_cast<unsigned>(std::max(1, std::atoi(value)));
    if (word == "--scale") scale = std::max(1LL, std::atoll(value));
  }
  for (const Row& row : rows) {
    if (!only.empty() && only != row.name) continue;
    const unsigned threads = row.workers != 0 ? row.workers : workers;
    std::vector<double> took;
    (void)row.run(threads, scale);
    for (int i = 0; i < rounds; ++i) took.push_back(row.run(threads, scale) * (row.unit[0] == 'm' ? 1e3 : 1e9));
    std::sort(took.begin(), took.end());
    std::printf(R"({"row":"%s","unit":"%s","min":%.3f,"median":%.3f,"rounds":%d,"workers":%u,"peak_kb":%ld})"
                "\n",
                row.name, row.unit, took.front(), took[took.size() / 2], rounds, threads, peak_kb());
    std::fflush(stdout);
  }
  return 0;
}

// The board of the row nqueens: whether a queen in row `row`, column `column` is safe from those above it.
inline bool safe(const std::array<signed char, 16>& columns, int row, int column) {
  for (int above = 0; above < row; ++above) {
    const int distance = columns[above] - column;
    if (distance == 0 || distance == row - above || distance == above - row) return false;
  }
  return true;
}
inline constexpr int kQueens = 11;
inline constexpr std::int64_t kSolutions = 2680;
inline int queens(std::int64_t scale) { return scale > 1 ? 6 : kQueens; }
inline std::int64_t solutions(std::int64_t scale) { return scale > 1 ? 4 : kSolutions; }
inline std::int64_t leaves(std::int64_t scale) { return scale > 1 ? 1000 : 1'000'000; }
inline constexpr int kRing = 503;
inline constexpr int kCounters = 16;

}  // namespace peer
