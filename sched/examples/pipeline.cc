// pipeline.cc - three stages with channels between them: reads lines, counts their words on several fibers, sums up.
//
//   pipeline [--counters N] < TEXT
//
//   standard input  ->  reader  -- lines -->  N counters  -- words -->  main  ->  the ten most frequent words
//
// The channels hold a few values each, so a stage that is faster waits for the next one and memory stays small however long the text
// is. The end travels as the text does: the reader closes the first channel, the last counter the second.
#include <weft/sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace sched = weft::sched;

namespace {

using Counts = std::unordered_map<std::string, int>;

// Parks while there is nothing to read; in pieces that end where a line does.
weft::Status read_text(int fd, sched::Channel<std::string>& lines) {
  std::string text;
  std::array<std::byte, 16384> bytes;
  for (;;) {
    const std::size_t got = WEFT_TRY(sched::io::read_some(fd, bytes));
    text.append(reinterpret_cast<const char*>(bytes.data()), got);
    const std::size_t end = got == 0 ? text.size() : text.rfind('\n') + 1;
    if (end > 0) WEFT_TRY(lines.send(text.substr(0, end)));
    text.erase(0, end);
    if (got == 0) return {};
  }
}

Counts count_words(std::string_view text) {
  Counts counts;
  std::string word;
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      ++counts[std::exchange(word, {})];
    }
  }
  if (!word.empty()) ++counts[word];
  return counts;
}

weft::Result<Counts> run(int fd, int counters) {
  sched::Channel<std::string> lines(4);
  sched::Channel<Counts> words(4);
  std::atomic<int> counting{counters};
  sched::TaskGroup stages;
  stages.spawn("reader", [&] {
    weft::Status ended = read_text(fd, lines);
    lines.close();
    return ended;
  });
  for (int i = 0; i < counters; ++i)
    stages.spawn("counter", [&]() -> weft::Status {
      while (auto piece = lines.receive()) WEFT_TRY(words.send(count_words(*piece)));
      if (--counting == 0) words.close();
      return {};
    });
  Counts sum;
  while (auto counts = words.receive())
    for (const auto& [word, count] : *counts) sum[word] += count;
  WEFT_TRY(stages.join());
  return sum;
}

}  // namespace

int main(int count, char** words) {
  int counters = 4;
  if (count == 3 && std::string_view(words[1]) == "--counters") {
    counters = std::max(1, std::atoi(words[2]));
  } else if (count > 1) {
    std::puts("usage: pipeline [--counters N] < TEXT");
    return std::string_view(words[1]) == "--help" ? 0 : 2;
  }
  auto runtime = sched::Runtime::create({.name = "pipeline"});
  if (!runtime) return 1;
  const weft::Result<Counts> counts = runtime->block_on([&] { return run(0, counters); });
  if (!counts) {
    std::fprintf(stderr, "pipeline: %s\n", counts.error().message().c_str());
    return 1;
  }
  std::vector<std::pair<std::string, int>> sorted(counts->begin(), counts->end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return std::pair(-a.second, std::string_view(a.first)) < std::pair(-b.second, std::string_view(b.first));
  });
  for (std::size_t i = 0; i < std::min<std::size_t>(10, sorted.size()); ++i)
    std::printf("%6d %s\n", sorted[i].second, sorted[i].first.c_str());
}
