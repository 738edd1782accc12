// sched/file_disk.h - a block device that is a file or disk of this machine.
//
//   fs  ->  kernel/block_device.h  ->  [FileDisk]  ->  the worker's io_uring  ->  file, disk
//
// run() submits all its requests in one go on the ring of the worker it is called on and parks the fiber once. Called from a
// plain thread it makes the system calls itself. Where the file lies in memory (tmpfs) it does that on a worker, too: a copy
// takes less time than io_uring's own threads, to which such requests would be handed.
//
// Short transfers are continued, interrupted ones repeated. A flush is fdatasync. A discard punches a hole into a file, and is
// BLKDISCARD on a disk. After a failed flush nothing is repeated: see D3 of the contract.
//
// Thread- and fiber-safe. run() parks. Tests: tests/sched/file_disk_test.cc.
#pragma once

#include <string>

#include "kernel/block_device.h"

namespace weft::sched {

class FileDisk final : public BlockDevice {
 public:
  struct Options {
    int fd = -1;  // open for what the geometry promises
    Geometry geometry;
    std::string name;
    bool is_block_device = false;  // decides how to discard
    bool memory_backed = false;    // a file on tmpfs: no ring
    bool owns_fd = true;           // closes it
  };

  explicit FileDisk(Options options) noexcept : options_(std::move(options)) {}
  ~FileDisk() override;

  [[nodiscard]] Geometry geometry() const noexcept override { return options_.geometry; }
  [[nodiscard]] std::string name() const override { return options_.name; }
  Status run(std::span<const BlockIo> requests) override;

 private:
  struct Progress;
  Status discard_on_device(const BlockIo& io) const;
  [[nodiscard]] Error error_of(const Progress& progress, int os_errno) const;

  const Options options_;
};

}  // namespace weft::sched
