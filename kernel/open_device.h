// kernel/open_device.h - opens a file or block device that shall hold blocks, and finds out what it is.
//
//   path -> [open_device] -> OpenDevice {descriptor, facts} -> a BlockDevice on it (sched/file_disk)
//
// Keeps out others only as far as the kernel does (`claim`); locks between our own programs are tools/open_disk's.
// Blocks the calling thread. Tests: tests/kernel/open_device_test.cc.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "kernel/block_device.h"
#include "kernel/result.h"

namespace weft {

struct OpenDeviceOptions {
  bool read_only = false;
  // A block device: refuse it (kBusy) if something in the kernel uses it, and keep others of that kind out while it is open.
  bool claim = true;
};

// A descriptor and what is known of it. Move-only; closes at its end.
class OpenDevice {
 public:
  OpenDevice(OpenDevice&& other) noexcept;
  OpenDevice& operator=(OpenDevice&& other) noexcept;
  ~OpenDevice();

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] int release() noexcept { return std::exchange(fd_, -1); }

  std::string path;  // absolute, symbolic links resolved
  BlockDevice::Geometry geometry;
  bool is_block_device = false;
  dev_t device_number = 0;     // of a block device
  bool direct = false;         // past the page cache; false on file systems that refuse it
  bool memory_backed = false;  // tmpfs or ramfs: I/O never waits, and nothing outlives the machine

 private:
  friend Result<OpenDevice> open_device(const std::string& path, const OpenDeviceOptions& options);
  explicit OpenDevice(int fd) noexcept : fd_(fd) {}
  int fd_ = -1;
};

// Errors: kNotFound, kAccessDenied, kBusy, kUnsupported, kInvalid (neither file nor block device, or smaller than a sector),
// kReadOnly (write-protected), kIo; the message says what to do.
Result<OpenDevice> open_device(const std::string& path, const OpenDeviceOptions& options = {});

}  // namespace weft
