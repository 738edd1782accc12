// kernel/metered_disk.h - counts, times and traces what goes to a device.
//
//   fs -> [MeteredDisk] -> any BlockDevice
//
// Metrics: device.{reads,writes,flushes,discards}, device.{read,written,discarded}_bytes, device.errors, and
// device.latency_us{op=...}, one value for each batch that run() was given. Trace spans of the same names: device.read,
// device.write, device.flush, device.discard; a batch is named after its first request.
//
// Thread- and fiber-safe as the device below. run() parks where that does. Tests: tests/kernel/metered_disk_test.cc.
#pragma once

#include <string>

#include "kernel/block_device.h"
#include "kernel/metrics.h"

namespace weft {

class MeteredDisk final : public BlockDevice {
 public:
  // `under` and `metrics` outlive it.
  MeteredDisk(BlockDevice& under, Metrics& metrics);

  [[nodiscard]] Geometry geometry() const noexcept override { return under_.geometry(); }
  [[nodiscard]] std::string name() const override { return under_.name(); }
  Status run(std::span<const BlockIo> requests) override;

 private:
  static constexpr std::size_t kOps = 4;  // of BlockOp

  BlockDevice& under_;
  Counter* counts_[kOps];
  Counter* bytes_[kOps];  // null for a flush
  Histogram* latencies_[kOps];
  Counter& errors_;
};

}  // namespace weft
