// fs/fuse/loop_device.h - a loop device over an image, so that the image can be mounted as a block device.
//
// The device is only the mount's source: it is what makes sync(2), syncfs(2) and umount(2) wait for the server. Data goes to
// the image itself. It detaches itself (autoclear) when the last user, the mount, is gone, however the server ended.
#pragma once

#include <string>

#include "kernel/result.h"

namespace weft::fs::fuse {

class LoopDevice {
 public:
  // Errors: kAccessDenied, kNotPermitted, kNotFound (no /dev/loop-control), kBusy (none free after several tries).
  static Result<LoopDevice> attach(const std::string& image, bool read_only);
  LoopDevice(LoopDevice&& other) noexcept;
  LoopDevice& operator=(LoopDevice&&) = delete;
  // Lets go of it: what is not mounted by now detaches.
  ~LoopDevice();
  [[nodiscard]] const std::string& path() const noexcept { return path_; }

 private:
  LoopDevice(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  int fd_;
  std::string path_;
};

}  // namespace weft::fs::fuse
