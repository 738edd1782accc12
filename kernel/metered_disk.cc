#include "kernel/metered_disk.h"

#include <chrono>

#include "kernel/trace.h"

namespace weft {
namespace {

constexpr const char* kSpans[] = {"device.read", "device.write", "device.flush", "device.discard"};

}  // namespace

MeteredDisk::MeteredDisk(BlockDevice& under, Metrics& metrics)
    : under_(under),
      counts_{&metrics.counter("device.reads", "read requests"), &metrics.counter("device.writes", "write requests"),
              &metrics.counter("device.flushes", "flushes"), &metrics.counter("device.discards", "discards")},
      bytes_{&metrics.counter("device.read_bytes", "bytes asked for by reads"),
             &metrics.counter("device.written_bytes", "bytes of writes"), nullptr,
             &metrics.counter("device.discarded_bytes", "bytes of discards")},
      errors_(metrics.counter("device.errors", "batches of requests that failed")) {
  static constexpr const char* kLabels[] = {"op=read", "op=write", "op=flush", "op=discard"};
  for (std::size_t op = 0; op < kOps; ++op)
    latencies_[op] = &metrics.histogram("device.latency_us", "microseconds a batch of requests took", kLabels[op]);
}

Status MeteredDisk::run(std::span<const BlockIo> requests) {
  if (requests.empty()) return under_.run(requests);
  for (const BlockIo& io : requests) {
    const auto op = static_cast<std::size_t>(io.op);
    counts_[op]->add();
    if (bytes_[op] != nullptr) bytes_[op]->add(io.length_bytes);
  }
  const auto first = static_cast<std::size_t>(requests.front().op);
  const TraceSpan span(kSpans[first]);
  const auto start = std::chrono::steady_clock::now();
  Status status = under_.run(requests);
  const auto took = std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::steady_clock::now() - start);
  latencies_[first]->add(static_cast<std::uint64_t>(took.count()));
  if (!status) errors_.add();
  return status;
}

}  // namespace weft
