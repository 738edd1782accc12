#include "kernel/metrics.h"

#include <sched.h>

#include <algorithm>
#include <bit>
#include <map>
#include <mutex>
#include <utility>
#include <variant>

#include "kernel/check.h"

namespace weft {

namespace metrics_detail {

// Only a hint: a thread that moves on in between adds to another's cell, which is slower and no less right.
std::size_t cell_here() noexcept { return static_cast<unsigned>(sched_getcpu()) % kCells; }

}  // namespace metrics_detail

std::uint64_t Counter::value() const noexcept {
  std::uint64_t sum = 0;
  for (const auto& cell : cells_) sum += cell.value.load(std::memory_order_relaxed);
  return sum;
}

std::size_t Histogram::bucket_of(std::uint64_t value) noexcept {
  value = std::min(value, (std::uint64_t{1} << kMostBits) - 1);
  if (value < (1u << kLinearBits)) return static_cast<std::size_t>(value);
  const auto exponent = static_cast<unsigned>(std::bit_width(value)) - 1 - kLinearBits;  // of a bucket's width
  return (std::size_t{exponent} << kLinearBits) + static_cast<std::size_t>(value >> exponent);
}

std::uint64_t Histogram::bucket_end(std::size_t bucket) noexcept {
  if (bucket < (1u << kLinearBits)) return bucket;
  const std::size_t exponent = (bucket >> kLinearBits) - 1;
  const std::uint64_t mantissa = bucket - (exponent << kLinearBits);
  return ((mantissa + 1) << exponent) - 1;
}

void Histogram::add(std::uint64_t value) noexcept {
  Cell& cell = cells_[metrics_detail::cell_here() % kCells];
  cell.buckets[bucket_of(value)].fetch_add(1, std::memory_order_relaxed);
  cell.sum.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Reading Histogram::read() const noexcept {
  Reading reading;
  for (const Cell& cell : cells_) {
    reading.sum += cell.sum.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < kBuckets; ++i) {
      const std::uint64_t count = cell.buckets[i].load(std::memory_order_relaxed);
      reading.buckets[i] += count;
      reading.count += count;
    }
  }
  return reading;
}

std::uint64_t Histogram::Reading::quantile(double share) const noexcept {
  if (count == 0) return 0;
  const double wanted = share * static_cast<double>(count);
  std::uint64_t seen = 0;
  std::size_t last = 0;
  for (std::size_t i = 0; i < kBuckets; ++i) {
    if (buckets[i] == 0) continue;
    seen += buckets[i];
    last = i;
    if (static_cast<double>(seen) >= wanted) break;
  }
  return bucket_end(last);
}

std::uint64_t Histogram::Reading::at_most(std::uint64_t limit) const noexcept {
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBuckets && bucket_end(i) <= limit; ++i) seen += buckets[i];
  return seen;
}

// ------------------------------------------------------------------------------------------------------ registry

struct Metrics::Entry {
  std::string help;
  std::variant<Counter, Gauge, Histogram> metric;
};

struct Metrics::Parts {
  mutable std::mutex mutex;
  // By name and label. A map's elements stay where they are.
  std::map<std::pair<std::string, std::string>, Entry, std::less<>> entries;  // guarded by mutex
};

Metrics::Metrics() : parts_(std::make_unique<Parts>()) {}
Metrics::~Metrics() = default;

Metrics::Entry& Metrics::find_or_make(std::string_view name, std::string_view help, std::string_view label, int kind) {
  const auto in_name = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.'; };
  WEFT_CHECK(!name.empty() && std::ranges::all_of(name, in_name));
  WEFT_CHECK(std::ranges::all_of(label, [&](char c) { return in_name(c) || c == '='; }) &&
             std::ranges::count(label, '=') == (label.empty() ? 0 : 1));
  const std::lock_guard lock(parts_->mutex);
  auto [at, made] = parts_->entries.try_emplace({std::string(name), std::string(label)});
  Entry& entry = at->second;
  if (made) {
    entry.help = help;
    if (kind == 1) entry.metric.emplace<1>();
    if (kind == 2) entry.metric.emplace<2>();
  }
  WEFT_CHECK(entry.metric.index() == static_cast<std::size_t>(kind));
  return entry;
}

Counter& Metrics::counter(std::string_view name, std::string_view help, std::string_view label) {
  return std::get<Counter>(find_or_make(name, help, label, 0).metric);
}
Gauge& Metrics::gauge(std::string_view name, std::string_view help, std::string_view label) {
  return std::get<Gauge>(find_or_make(name, help, label, 1).metric);
}
Histogram& Metrics::histogram(std::string_view name, std::string_view help, std::string_view label) {
  return std::get<Histogram>(find_or_make(name, help, label, 2).metric);
}

// Not destroyed: threads that outlive main() may still count.
Metrics& default_metrics() noexcept {
  static Metrics& metrics = *new Metrics;  // NOLINT(bugprone-unhandled-exception-at-new): at the start, or not at all
  return metrics;
}

// --------------------------------------------------------------------------------------------------- text of it

namespace {

// "fs.fuse.latency_us{op=write}"
std::string full_name(const std::pair<std::string, std::string>& key) {
  return key.second.empty() ? key.first : key.first + "{" + key.second + "}";
}

constexpr std::pair<const char*, double> kQuantiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};

struct TextWriter {
  std::string out;

  void number(const std::string& name, const std::string& value) {
    if (value != "0") out += name + " " + value + "\n";
  }
  void histogram(const std::string& name, const Histogram::Reading& reading) {
    if (reading.count == 0) return;
    out += name + " count " + std::to_string(reading.count) + " mean " + std::to_string(reading.sum / reading.count);
    for (const auto& [quantile, share] : kQuantiles)
      out += std::string(" ") + quantile + " " + std::to_string(reading.quantile(share));
    out += "\n";
  }
};

struct JsonWriter {
  std::string out;

  // Names and labels hold nothing that JSON would want escaped.
  void member(const std::string& name) { out += (out.empty() ? "{\n  \"" : ",\n  \"") + name + "\": "; }
  void number(const std::string& name, const std::string& value) {
    member(name);
    out += value;
  }
  void histogram(const std::string& name, const Histogram::Reading& reading) {
    member(name);
    out += "{\"count\": " + std::to_string(reading.count) + ", \"sum\": " + std::to_string(reading.sum);
    for (const auto& [quantile, share] : kQuantiles)
      out += std::string(", \"") + quantile + "\": " + std::to_string(reading.quantile(share));
    out += "}";
  }
};

struct PrometheusWriter {
  std::string out;
  std::string family;  // whose head has been written

  static std::string quoted_label(const std::string& label) {
    const std::size_t equals = label.find('=');
    return label.substr(0, equals + 1) + "\"" + label.substr(equals + 1) + "\"";
  }
  void head(const std::string& name, const std::string& help, const char* kind) {
    if (name == family) return;
    family = name;
    out += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n";
  }
  void number(const std::string& name, const std::string& label, const std::string& value) {
    out += name;
    if (!label.empty()) out.append("{").append(quoted_label(label)).append("}");
    out.append(" ").append(value).append("\n");
  }
  void histogram(const std::string& name, const std::string& label, const Histogram::Reading& reading) {
    const std::string bucket = name + "_bucket{" + (label.empty() ? "" : quoted_label(label) + ",") + "le=\"";
    // The same limits every time, as its readers want them: powers of four.
    for (unsigned bits = 2; bits <= 26; bits += 2) {
      const std::uint64_t limit = (std::uint64_t{1} << bits) - 1;
      out.append(bucket).append(std::to_string(limit)).append("\"} ");
      out.append(std::to_string(reading.at_most(limit))).append("\n");
    }
    out.append(bucket).append("+Inf\"} ").append(std::to_string(reading.count)).append("\n");
    number(name + "_sum", label, std::to_string(reading.sum));
    number(name + "_count", label, std::to_string(reading.count));
  }
};

}  // namespace

std::string Metrics::render(MetricsFormat format) const {
  TextWriter text;
  JsonWriter json;
  PrometheusWriter prometheus;
  const std::lock_guard lock(parts_->mutex);
  for (const auto& [key, entry] : parts_->entries) {
    static constexpr const char* kKinds[] = {"counter", "gauge", "histogram"};
    const auto* histogram = std::get_if<Histogram>(&entry.metric);
    std::string value;
    if (const auto* counter = std::get_if<Counter>(&entry.metric)) value = std::to_string(counter->value());
    if (const auto* gauge = std::get_if<Gauge>(&entry.metric)) value = std::to_string(gauge->value());
    switch (format) {
      case MetricsFormat::kText:
        histogram != nullptr ? text.histogram(full_name(key), histogram->read()) : text.number(full_name(key), value);
        break;
      case MetricsFormat::kJson:
        histogram != nullptr ? json.histogram(full_name(key), histogram->read()) : json.number(full_name(key), value);
        break;
      case MetricsFormat::kPrometheus: {
        std::string name = "weft_" + key.first;
        std::ranges::replace(name, '.', '_');
        prometheus.head(name, entry.help, kKinds[entry.metric.index()]);
        histogram != nullptr ? prometheus.histogram(name, key.second, histogram->read())
                             : prometheus.number(name, key.second, value);
        break;
      }
    }
  }
  switch (format) {
    case MetricsFormat::kText: return std::move(text.out);
    case MetricsFormat::kJson: return json.out.empty() ? "{}\n" : std::move(json.out) + "\n}\n";
    case MetricsFormat::kPrometheus: return std::move(prometheus.out);
  }
  return {};
}

}  // namespace weft
