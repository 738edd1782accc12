// tests/fs/hook_disk.h - calls the test before each request batch of a device, outside all locks: to count, to fail, or to do
// something else in the middle.
#pragma once

#include <atomic>
#include <functional>
#include <thread>

#include "kernel/block_device.h"

namespace weft::fs::test {

class HookDisk final : public BlockDevice {
 public:
  explicit HookDisk(BlockDevice& under) : under_(under) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return under_.geometry(); }
  [[nodiscard]] std::string name() const override { return under_.name(); }
  Status run(std::span<const BlockIo> requests) override {
    for (const BlockIo& request : requests) {
      if (request.op == BlockOp::kFlush) ++flushes;
      if (request.op == BlockOp::kWrite) ++writes;
    }
    // Not from within itself: what the hook does to the volume comes through here, too.
    if (before && !inside_.exchange(true)) {
      // Somebody else does it: who waits for the device may hold locks that come after those that the hook takes.
      std::thread([&] { before(requests); }).join();
      inside_ = false;
    }
    return under_.run(requests);
  }

  std::function<void(std::span<const BlockIo>)> before;
  std::atomic<std::uint64_t> writes{0};
  std::atomic<std::uint64_t> flushes{0};

 private:
  BlockDevice& under_;
  std::atomic<bool> inside_{false};
};

}  // namespace weft::fs::test
