// tests/crash/gate.h - a disk that says where the log has come to, and lets something happen in the middle of a checkpoint.
//
//   FileSystem -> [gate] -> LyingDisk -> RecordingDisk
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <thread>

#include "fs/layout.h"
#include "kernel/block_device.h"

namespace weft::crash {

class Gate final : public BlockDevice {
 public:
  explicit Gate(BlockDevice& under, const fs::Layout& layout) : under_(under), layout_(layout) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return under_.geometry(); }
  [[nodiscard]] std::string name() const override { return under_.name(); }
  Status run(std::span<const BlockIo> requests) override {
    bool writes = false;
    for (const BlockIo& io : requests) {
      const std::uint64_t log = layout_.log_offset_bytes();
      writes = writes || io.op == BlockOp::kWrite;
      if (io.op == BlockOp::kWrite && io.offset_bytes >= log && io.offset_bytes < log + layout_.log_bytes())
        log_end = io.offset_bytes + io.length_bytes - log, log_written += io.length_bytes;
    }
    // Not at a flush, which excludes others. On a thread of its own: who waits for the device may hold locks that come after
    // those it takes.
    if (writes && !inside_ && before_write) {
      inside_ = true;
      std::thread([&] { before_write(); }).join();
      inside_ = false;
    }
    return under_.run(requests);
  }

  std::function<void()> before_write;
  std::uint64_t log_end = 0;      // bytes from its start
  std::uint64_t log_written = 0;  // bytes since the checkpoint that began the log

 private:
  BlockDevice& under_;
  const fs::Layout& layout_;
  bool inside_ = false;
};

}  // namespace weft::crash
