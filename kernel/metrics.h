// kernel/metrics.h - numbers about what goes on inside, named after the rooms they come from.
//
//   Counter& flushes = metrics.counter("fs.journal.flushes", "flushes asked of the device");     // once, at creation
//   flushes.add();                                                                               // on any path, however hot
//
// A Metrics owns its metrics until its end; who asks for a name a second time gets the same one, so that several volumes in one
// process add up. Components take a Metrics& (or null for default_metrics()), so that a test, or an embedder with two servers,
// has numbers of its own.
//
// An increment is one relaxed atomic addition to a cell that the processor most likely has to itself (cells are chosen by
// sched_getcpu(), which reads a word of memory). A reading taken meanwhile is of no single instant.
//
// Names are "room.part.what", with a unit last where there is one: fs.checkpoint.bytes, fs.fuse.latency_us.
// Thread- and fiber-safe; nothing parks. Asking for a metric and reading take a mutex, a leaf. Tests: tests/kernel/metrics_test.cc.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace weft {

namespace metrics_detail {
inline constexpr std::size_t kCells = 8;  // a power of two
[[nodiscard]] std::size_t cell_here() noexcept;
struct alignas(64) Cell {
  std::atomic<std::uint64_t> value{0};
};
}  // namespace metrics_detail

// Only ever grows.
class Counter {
 public:
  void add(std::uint64_t amount = 1) noexcept {
    cells_[metrics_detail::cell_here()].value.fetch_add(amount, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const noexcept;

 private:
  metrics_detail::Cell cells_[metrics_detail::kCells];
};

// Something there is more or less of. By differences, so that several owners of one name add up.
class Gauge {
 public:
  void add(std::int64_t amount) noexcept { value_.fetch_add(amount, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

// How often which values came. Log-linear: eight buckets to each power of two, so that a bucket is at most an eighth wide of what
// it holds (Tene's HdrHistogram has the same shape); values below eight have a bucket each.
class Histogram {
 public:
  static constexpr unsigned kLinearBits = 3;
  static constexpr unsigned kMostBits = 40;  // larger values count as the largest
  static constexpr std::size_t kBuckets = ((kMostBits - kLinearBits) << kLinearBits) + (std::size_t{1} << kLinearBits);

  void add(std::uint64_t value) noexcept;

  struct Reading {
    std::uint64_t count = 0;
    std::uint64_t sum = 0;
    std::uint64_t buckets[kBuckets] = {};
    // The upper end of the bucket that holds the value at `share` (0..1) of all; 0 where there is none.
    [[nodiscard]] std::uint64_t quantile(double share) const noexcept;
    // Of values at or below `limit`, which is one below a power of two.
    [[nodiscard]] std::uint64_t at_most(std::uint64_t limit) const noexcept;
  };
  [[nodiscard]] Reading read() const noexcept;

  [[nodiscard]] static std::size_t bucket_of(std::uint64_t value) noexcept;
  // The largest value that the bucket holds.
  [[nodiscard]] static std::uint64_t bucket_end(std::size_t bucket) noexcept;

 private:
  static constexpr std::size_t kCells = 2;
  struct alignas(64) Cell {
    std::atomic<std::uint64_t> sum{0};
    std::atomic<std::uint64_t> buckets[kBuckets] = {};
  };
  Cell cells_[kCells];
};

enum class MetricsFormat : std::uint8_t {
  kText,        // a line each, for people; those that are zero are left out
  kJson,        // one object, a member each; a histogram is {"count", "sum", "p50", "p90", "p99", "max"}
  kPrometheus,  // its text exposition format 0.0.4
};

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `name` of lower-case letters, digits, '_' and '.'; `label`, if any, one "key=value" that tells metrics of a name apart, such as
  // "op=write". A name is of one kind for ever. `help` is of the first who asks. The references live as long as the Metrics.
  Counter& counter(std::string_view name, std::string_view help, std::string_view label = {});
  Gauge& gauge(std::string_view name, std::string_view help, std::string_view label = {});
  Histogram& histogram(std::string_view name, std::string_view help, std::string_view label = {});

  // In order of names and labels. Ends with a line break.
  [[nodiscard]] std::string render(MetricsFormat format) const;

 private:
  struct Entry;
  struct Parts;
  Entry& find_or_make(std::string_view name, std::string_view help, std::string_view label, int kind);

  std::unique_ptr<Parts> parts_;
};

// The process's own. Lives for ever.
Metrics& default_metrics() noexcept;
// `chosen`, or the process's own.
inline Metrics& metrics_or_default(Metrics* chosen) noexcept { return chosen != nullptr ? *chosen : default_metrics(); }

}  // namespace weft
