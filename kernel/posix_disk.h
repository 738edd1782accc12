// kernel/posix_disk.h - a BlockDevice by plain system calls on the calling thread, for tools that need no scheduler.
//
// run() does its requests one after the other and blocks the thread, fiber or not: mounts use sched's disk on io_uring.
// Thread-safe; has no locks. Tests: tests/kernel/open_device_test.cc.
#pragma once

#include <utility>

#include "kernel/open_device.h"

namespace weft {

class PosixDisk final : public BlockDevice {
 public:
  explicit PosixDisk(OpenDevice device) : device_(std::move(device)) {}

  [[nodiscard]] Geometry geometry() const noexcept override { return device_.geometry; }
  [[nodiscard]] std::string name() const override { return device_.path; }
  Status run(std::span<const BlockIo> requests) override;
  [[nodiscard]] const OpenDevice& device() const noexcept { return device_; }

 private:
  Status transfer(const BlockIo& io);
  Status run_one(const BlockIo& io);

  OpenDevice device_;
};

}  // namespace weft
