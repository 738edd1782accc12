#include "kernel/metered_disk.h"

#include <gtest/gtest.h>

#include "kernel/memory_disk.h"

namespace weft {
namespace {

TEST(MeteredDisk, CountsEachRequestWithItsBytesAndEachBatchsLatency) {
  Metrics metrics;
  MemoryDisk memory(1 << 20);
  MeteredDisk disk(memory, metrics);
  EXPECT_EQ(disk.name(), memory.name());
  EXPECT_EQ(disk.geometry().size_bytes, memory.geometry().size_bytes);
  alignas(512) std::byte buffer[8192] = {};
  const iovec vector{buffer, 8192};
  const BlockIo two[] = {{BlockOp::kWrite, 0, 8192, {&vector, 1}}, {BlockOp::kWrite, 8192, 8192, {&vector, 1}}};
  ASSERT_TRUE(disk.run(two));
  ASSERT_TRUE(disk.flush());
  ASSERT_TRUE(disk.read(4096, std::span(buffer).first(4096)));
  ASSERT_TRUE(disk.discard(0, 4096));
  EXPECT_EQ(metrics.counter("device.writes", "").value(), 2u);
  EXPECT_EQ(metrics.counter("device.written_bytes", "").value(), 16384u);
  EXPECT_EQ(metrics.counter("device.flushes", "").value(), 1u);
  EXPECT_EQ(metrics.counter("device.reads", "").value(), 1u);
  EXPECT_EQ(metrics.counter("device.read_bytes", "").value(), 4096u);
  EXPECT_EQ(metrics.counter("device.discarded_bytes", "").value(), 4096u);
  EXPECT_EQ(metrics.histogram("device.latency_us", "", "op=write").read().count, 1u);
  EXPECT_EQ(metrics.histogram("device.latency_us", "", "op=flush").read().count, 1u);
  EXPECT_EQ(metrics.counter("device.errors", "").value(), 0u);
}

TEST(MeteredDisk, FailureOfTheDeviceIsPassedOnAndCounted) {
  Metrics metrics;
  MemoryDisk memory(1 << 20);
  MeteredDisk disk(memory, metrics);
  alignas(512) std::byte buffer[4096] = {};
  EXPECT_EQ(disk.read(1 << 20, buffer).error(), Errc::kInvalid);
  EXPECT_EQ(metrics.counter("device.errors", "").value(), 1u);
}

}  // namespace
}  // namespace weft
