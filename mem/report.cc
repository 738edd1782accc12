// mem/report.cc - see report.h.
#include "mem/report.h"

#include <algorithm>
#include <array>
#include <cstdarg>
#include <cstdint>
#include <cstdio>

#include "mem/stats.h"

namespace weft::mem {
namespace {

class Text {
 public:
  explicit Text(std::span<char> into) noexcept : into_(into) {
    if (!into_.empty()) into_[0] = '\0';
  }
  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...) noexcept {
    va_list arguments;
    va_start(arguments, format);
    const std::size_t at = std::min(length_, into_.size());
    const int added = std::vsnprintf(into_.data() + at, into_.size() - at, format, arguments);
    va_end(arguments);
    if (added > 0) length_ += static_cast<std::size_t>(added);
  }
  std::size_t length() const noexcept { return length_; }

 private:
  std::span<char> into_;
  std::size_t length_ = 0;
};

// No limit.
std::size_t or_zero(std::size_t limit) noexcept { return limit == SIZE_MAX ? 0 : limit; }

// One list for all formats.
struct Line {
  const char* name;
  std::size_t value;
  const char* type;  // Prometheus's
  const char* help;
};

auto lines_of(const Stats& s) noexcept {
  return std::to_array<Line>(
      {{"used_bytes", s.used_bytes, "gauge", "in the program's hands, as large as size classes make them"},
       {"small_bytes", s.small_bytes, "gauge", "of these, in slabs"},
       {"large_bytes", s.large_bytes, "gauge", "of these, in large blocks"},
       {"large_blocks", s.large_blocks, "gauge", "large blocks"},
       {"stack_bytes", s.pages_bytes[static_cast<std::size_t>(PageUse::kStacks)], "gauge", "pages of fiber stacks"},
       {"buffer_bytes", s.pages_bytes[static_cast<std::size_t>(PageUse::kBuffers)], "gauge", "pages of I/O buffers"},
       {"live_bytes", s.live_bytes, "gauge", "slabs, large blocks, pages of pools and the heap itself, whole"},
       {"dirty_bytes", s.dirty_bytes, "gauge", "free, with pages"},
       {"free_bytes", s.free_bytes, "gauge", "free, with pages or without"},
       {"peak_bytes", s.peak_bytes, "gauge", "the most that was live"},
       {"committed_bytes", s.committed_bytes, "gauge", "usable address space"},
       {"heaps", s.heaps, "gauge", "heaps of threads, past and present"},
       {"idle_heaps", s.idle_heaps, "gauge", "of these, without a thread"},
       {"refills_total", s.refills, "counter", "lists that were filled anew"},
       {"slabs_made_total", s.slabs_made, "counter", "slabs that were made"},
       {"slabs_freed_total", s.slabs_freed, "counter", "slabs that were given back"},
       {"slabs_adopted_total", s.slabs_adopted, "counter", "slabs taken over from heaps without a thread"},
       {"posts_total", s.posts, "counter", "batches of blocks freed for another heap"},
       {"sample_mean_bytes", s.sample_mean_bytes, "gauge", "one byte in so many is sampled; 0: none"},
       {"samples_total", s.samples, "counter", "blocks that were sampled"},
       {"soft_limit_bytes", or_zero(s.soft_limit_bytes), "gauge", "what live_bytes should stay below; 0: none"},
       {"hard_limit_bytes", or_zero(s.hard_limit_bytes), "gauge", "what live_bytes cannot exceed; 0: none"},
       {"soft_limit_passed_total", s.soft_limit_passed, "counter", "how often the soft limit was passed"},
       {"hard_limit_refused_total", s.hard_limit_refused, "counter", "requests that the hard limit refused"}});
}

void add_text(Text& text, const Stats& stats) noexcept {
  for (const Line& line : lines_of(stats)) text.add("%-20s %14zu  %s\n", line.name, line.value, line.help);
  text.add("\n%8s %8s %10s %10s %8s\n", "class", "slabs", "used", "carved", "percent");
  for (unsigned c = 0; c < kClasses; ++c) {
    const ClassStats& each = stats.classes[c];
    if (each.slabs == 0) continue;
    text.add("%8u %8zu %10zu %10zu %8zu\n", kClassBytes[c], each.slabs, each.blocks_used, each.blocks_carved,
             each.blocks_used * 100 / std::max<std::size_t>(each.blocks_carved, 1));
  }
}

void add_json(Text& text, const Stats& stats) noexcept {
  text.add("{");
  for (const Line& line : lines_of(stats)) text.add("\"%s\":%zu,", line.name, line.value);
  text.add("\"classes\":[");
  const char* between = "";
  for (unsigned c = 0; c < kClasses; ++c) {
    const ClassStats& each = stats.classes[c];
    if (each.slabs == 0) continue;
    text.add("%s{\"bytes\":%u,\"slabs\":%zu,\"used\":%zu,\"carved\":%zu,\"capacity\":%zu}", between, kClassBytes[c],
             each.slabs, each.blocks_used, each.blocks_carved, each.blocks_capacity);
    between = ",";
  }
  text.add("]}\n");
}

void add_prometheus(Text& text, const Stats& stats) noexcept {
  for (const Line& line : lines_of(stats)) {
    text.add("# HELP weft_heap_%s %s\n# TYPE weft_heap_%s %s\nweft_heap_%s %zu\n", line.name, line.help, line.name,
             line.type, line.name, line.value);
  }
  text.add(
      "# HELP weft_heap_class_used_blocks blocks in use by size class\n# TYPE weft_heap_class_used_blocks gauge\n");
  for (unsigned c = 0; c < kClasses; ++c) {
    if (stats.classes[c].slabs == 0) continue;
    text.add("weft_heap_class_used_blocks{bytes=\"%u\"} %zu\n", kClassBytes[c], stats.classes[c].blocks_used);
  }
}

}  // namespace

ReportFormat report_format_of(std::string_view path) noexcept {
  if (path.ends_with(".json")) return ReportFormat::kJson;
  return path.ends_with(".prom") ? ReportFormat::kPrometheus : ReportFormat::kText;
}

std::size_t write_report(ReportFormat format, std::span<char> into) noexcept {
  const Stats stats = gather_stats();
  Text text(into);
  switch (format) {
    case ReportFormat::kText: add_text(text, stats); break;
    case ReportFormat::kJson: add_json(text, stats); break;
    case ReportFormat::kPrometheus: add_prometheus(text, stats); break;
  }
  return text.length();
}

}  // namespace weft::mem
