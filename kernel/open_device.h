// kernel/open_device.h - opens a file or block device to be a BlockDevice, and finds out what it is.
//
//   path -> [open_device] -> OpenDevice {descriptor, facts} -> PosixDisk, or sched's disk on io_uring
//
// Blocks the calling thread. Tests: tests/kernel/open_device_test.cc.
#pragma once

#include <cstdint>
#include <string>

#include "kernel/block_device.h"
#include "kernel/result.h"

namespace weft {

struct OpenDeviceOptions {
  bool read_only = false;
  bool direct = true;           // past the page cache where the file system can; see OpenDevice::direct
  bool require_direct = false;  // fail with kUnsupported rather than use the page cache
  // A second opener is refused with kBusy: by flock(2), so between Wefts; a mounted block device is refused too.
  bool exclusive = true;
  std::uint64_t create_bytes = 0;  // not 0: make the file, sparse, if it is not there; kept as it is if it is
};

// A descriptor and what is known of it. Move-only; closes, and so unlocks, at its end.
class OpenDevice {
 public:
  OpenDevice(OpenDevice&& other) noexcept;
  OpenDevice& operator=(OpenDevice&& other) noexcept;
  ~OpenDevice();

  [[nodiscard]] int fd() const noexcept { return fd_; }

  std::string path;
  BlockDevice::Geometry geometry;
  bool is_block_device = false;
  bool direct = false;         // O_DIRECT is on; false on file systems that refuse it (older tmpfs, some network ones)
  bool memory_backed = false;  // tmpfs or ramfs: I/O never waits, and nothing outlives the machine

 private:
  friend Result<OpenDevice> open_device(const std::string& path, const OpenDeviceOptions& options);
  explicit OpenDevice(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

// Errors: kNotFound, kAccessDenied, kBusy, kUnsupported, kInvalid (neither file nor block device, or smaller than a sector),
// kReadOnly, kIo; the message says what to do.
Result<OpenDevice> open_device(const std::string& path, const OpenDeviceOptions& options = {});

}  // namespace weft
