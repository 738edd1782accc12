// tools/watched_disk.h - a device whose requests are counted while they are under way, so that one that never answers is noticed.
//
//   fs -> [WatchedDisk] -> sched::FileDisk          -> RequestAges -> heart.h
//
// A server that takes over reads and replays before it has a request of the kernel's to be late with, and a checkpoint writes for nobody.
// Discards are not counted: a disk may take minutes over a large one.
// Thread- and fiber-safety: as the device below. Tests: tests/tools/heart_test.cc, tests/e2e/watchdog.sh.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "fs/fuse/request_ages.h"
#include "kernel/block_device.h"

namespace weft::tools {

class WatchedDisk final : public BlockDevice {
 public:
  // Both have to outlive it.
  WatchedDisk(BlockDevice& below, fs::fuse::RequestAges& ages) noexcept : below_(below), ages_(ages) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return below_.geometry(); }
  [[nodiscard]] std::string name() const override { return below_.name(); }
  Status run(std::span<const BlockIo> requests) override {
    std::optional<fs::fuse::RequestAges::Entry> under_way;
    if (!requests.empty() && requests.front().op != BlockOp::kDiscard) under_way.emplace(ages_);
    return below_.run(requests);
  }

 private:
  BlockDevice& below_;
  fs::fuse::RequestAges& ages_;
};

}  // namespace weft::tools
