#include "kernel/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

namespace weft {
namespace {

TEST(Metrics, CountsOfManyThreadsAddUp) {
  Metrics metrics;
  Counter& counter = metrics.counter("room.things", "things");
  Histogram& histogram = metrics.histogram("room.latency_us", "latency");
  Gauge& gauge = metrics.gauge("room.bytes", "bytes");
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (unsigned i = 0; i < 10000; ++i) {
        counter.add(2);
        histogram.add(i % 100);
        gauge.add(i % 2 == 0 ? 5 : -3);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(counter.value(), 80000u);
  EXPECT_EQ(histogram.read().count, 40000u);
  EXPECT_EQ(histogram.read().sum, 4u * 100 * 4950);
  EXPECT_EQ(gauge.value(), 40000);
}

TEST(Metrics, NameAndLabelAreTheSameMetricForAllWhoAskAndAnotherInAnotherRegistry) {
  Metrics metrics, others;
  Counter& reads = metrics.counter("fs.fuse.requests", "requests", "op=read");
  EXPECT_EQ(&metrics.counter("fs.fuse.requests", "requests", "op=read"), &reads);
  EXPECT_NE(&metrics.counter("fs.fuse.requests", "requests", "op=write"), &reads);
  reads.add();
  EXPECT_EQ(others.counter("fs.fuse.requests", "requests", "op=read").value(), 0u);
  EXPECT_EQ(&metrics_or_default(&others), &others);
  EXPECT_EQ(&metrics_or_default(nullptr), &default_metrics());
}

TEST(MetricsDeathTest, NameOfTwoKindsAndNameThatNoReaderTakesAreBugs) {
  Metrics metrics;
  metrics.counter("room.things", "things");
  EXPECT_DEATH(metrics.gauge("room.things", "things"), "internal error");
  EXPECT_DEATH(metrics.counter("Room things", "things"), "internal error");
  EXPECT_DEATH(metrics.counter("room.things", "things", "op"), "internal error");
}

TEST(Histogram, BucketsCoverAllValuesWithoutGapAndAreAtMostAnEighthWide) {
  std::uint64_t next = 0;  // the first value that no bucket had so far
  for (std::size_t bucket = 0; bucket < Histogram::kBuckets; ++bucket) {
    const std::uint64_t end = Histogram::bucket_end(bucket);
    ASSERT_GE(end, next);
    ASSERT_EQ(Histogram::bucket_of(next), bucket);
    ASSERT_EQ(Histogram::bucket_of(end), bucket);
    ASSERT_LE((end - next) * 8, std::max<std::uint64_t>(next, 1)) << "bucket " << bucket;
    next = end + 1;
  }
  EXPECT_EQ(next, std::uint64_t{1} << Histogram::kMostBits);
  EXPECT_EQ(Histogram::bucket_of(~std::uint64_t{0}), Histogram::kBuckets - 1);
}

TEST(Histogram, QuantilesAreThoseOfTheValuesToAnEighth) {
  constexpr unsigned kSeed = 7;
  SCOPED_TRACE("seed " + std::to_string(kSeed));
  std::mt19937_64 random(kSeed);
  Histogram histogram;
  std::vector<std::uint64_t> values;
  for (int i = 0; i < 5000; ++i) {
    values.push_back(random() >> (random() % 40 + 24));
    histogram.add(values.back());
  }
  std::ranges::sort(values);
  const Histogram::Reading reading = histogram.read();
  for (const double share : {0.01, 0.5, 0.9, 0.99, 1.0}) {
    const std::uint64_t exact = values[static_cast<std::size_t>(share * static_cast<double>(values.size())) - 1];
    EXPECT_GE(reading.quantile(share), exact);
    EXPECT_LE(reading.quantile(share), exact + exact / 8);
  }
  EXPECT_EQ(Histogram().read().quantile(0.5), 0u);
}

TEST(Metrics, TextLeavesOutWhatIsZero) {
  Metrics metrics;
  metrics.counter("b.second", "").add(12);
  metrics.counter("c.never", "");
  metrics.gauge("a.first", "").add(-3);
  Histogram& latency = metrics.histogram("d.latency_us", "", "op=read");
  for (int i = 0; i < 10; ++i) latency.add(4);
  EXPECT_EQ(metrics.render(MetricsFormat::kText),
            "a.first -3\n"
            "b.second 12\n"
            "d.latency_us{op=read} count 10 mean 4 p50 4 p90 4 p99 4 max 4\n");
}

TEST(Metrics, JsonIsOneObjectWithAMemberEach) {
  Metrics metrics;
  EXPECT_EQ(metrics.render(MetricsFormat::kJson), "{}\n");
  metrics.counter("fs.journal.flushes", "").add(2);
  metrics.histogram("fs.fuse.latency_us", "", "op=read").add(3);
  EXPECT_EQ(
      metrics.render(MetricsFormat::kJson),
      "{\n"
      "  \"fs.fuse.latency_us{op=read}\": {\"count\": 1, \"sum\": 3, \"p50\": 3, \"p90\": 3, \"p99\": 3, \"max\": 3},\n"
      "  \"fs.journal.flushes\": 2\n"
      "}\n");
}

TEST(Metrics, PrometheusHasOneHeadForAllLabelsOfANameAndCumulativeBuckets) {
  Metrics metrics;
  metrics.counter("fs.fuse.requests", "requests of the kernel", "op=read").add(5);
  metrics.counter("fs.fuse.requests", "requests of the kernel", "op=write").add(6);
  Histogram& latency = metrics.histogram("fs.fuse.latency_us", "took", "op=read");
  for (const std::uint64_t value : {1, 3, 4, 15, 1'000'000'000}) latency.add(value);
  const std::string text = metrics.render(MetricsFormat::kPrometheus);
  EXPECT_NE(text.find("# HELP weft_fs_fuse_requests requests of the kernel\n"
                      "# TYPE weft_fs_fuse_requests counter\n"
                      "weft_fs_fuse_requests{op=\"read\"} 5\n"
                      "weft_fs_fuse_requests{op=\"write\"} 6\n"),
            std::string::npos)
      << text;
  for (const char* line : {"weft_fs_fuse_latency_us_bucket{op=\"read\",le=\"3\"} 2\n",
                           "weft_fs_fuse_latency_us_bucket{op=\"read\",le=\"15\"} 4\n",
                           "weft_fs_fuse_latency_us_bucket{op=\"read\",le=\"67108863\"} 4\n",
                           "weft_fs_fuse_latency_us_bucket{op=\"read\",le=\"+Inf\"} 5\n",
                           "weft_fs_fuse_latency_us_count{op=\"read\"} 5\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
}

}  // namespace
}  // namespace weft
