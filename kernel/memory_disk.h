// kernel/memory_disk.h - a BlockDevice in memory: for tests, for scratch volumes, and for measuring without a disk.
//
// Sparse: only what was written takes memory. A flush has nothing to do. copy() is O(1), so a test can keep any number of
// earlier states. Locks: mutex_, a leaf, held for the copy of one request's vectors; never parks.
// Tests: tests/kernel/memory_disk_test.cc.
#pragma once

#include <shared_mutex>
#include <string>

#include "kernel/block_device.h"
#include "kernel/disk_image.h"

namespace weft {

class MemoryDisk final : public BlockDevice {
 public:
  // `size_bytes` is a multiple of `alignment_bytes`, itself a power of two of 512..4096.
  explicit MemoryDisk(std::uint64_t size_bytes, std::uint32_t alignment_bytes = 512, std::string name = "memory");
  // Goes on from a content, as left by a crash or another disk.
  explicit MemoryDisk(DiskImage image, std::uint32_t alignment_bytes = 512, std::string name = "memory");

  [[nodiscard]] Geometry geometry() const noexcept override { return geometry_; }
  [[nodiscard]] std::string name() const override { return name_; }
  Status run(std::span<const BlockIo> requests) override;

  [[nodiscard]] DiskImage copy() const;
  // Not while requests are under way.
  void set_read_only(bool read_only) noexcept { geometry_.read_only = read_only; }

 private:
  Geometry geometry_;
  const std::string name_;
  mutable std::shared_mutex mutex_;
  DiskImage image_;  // guarded by mutex_
};

}  // namespace weft
