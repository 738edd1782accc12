// tools/open_disk.h - opens an image or block device for one of Weft's commands, so that no two of them use it at once.
//
//   command line -> [open_disk: kernel/open_device + lock] -> sched::FileDisk -> fs
//
// The lock is flock(2) on the file or device: exclusive for who writes, shared for who only reads. A device that is mounted is
// refused whoever mounted it. Blocks the thread, up to two seconds where the lock is held (udev and a server that is just
// ending let go by themselves). Tests: tests/tools/open_disk_test.cc.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "kernel/result.h"
#include "sched/file_disk.h"

namespace weft::tools {

// Held until release() or destruction; until release() alone, or the end of the last copy, once it is shared: then another process
// has a copy of the descriptor.
class DiskLock {
 public:
  DiskLock() = default;
  explicit DiskLock(int fd) noexcept : fd_(fd) {}  // takes a descriptor whose file is locked
  DiskLock(DiskLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)), shared_(other.shared_) {}
  DiskLock& operator=(DiskLock&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(shared_, other.shared_);
    return *this;
  }
  ~DiskLock();
  void release() noexcept;
  void share() noexcept { shared_ = true; }
  [[nodiscard]] int fd() const noexcept { return fd_; }

 private:
  int fd_ = -1;
  bool shared_ = false;
};

struct OpenDiskOptions {
  bool read_only = false;
  bool claim_device = true;                  // OpenDeviceOptions::claim; not for mount.weft: mount(2) claims it
  bool refuse_mounted = true;                // with read_only one may want to look all the same
  bool even_if_in_use = false;               // read_only: look though somebody writes; see OpenedDisk::in_use_by
  std::chrono::milliseconds patience{2000};  // for somebody else's lock
  // A descriptor of the image that is locked already, by a server before this; taken over on success, as a shared one. kInvalid if
  // the path leads to another file by now.
  int held_lock = -1;
};

struct OpenedDisk {
  std::unique_ptr<sched::FileDisk> disk;
  DiskLock lock;
  bool is_block_device = false;
  std::string path;  // absolute, symbolic links resolved
  std::string note;  // for people: what is not as it should be (no O_DIRECT); usually empty
  // With even_if_in_use: "mount.weft (process 123)" where somebody may be writing at the same time; else empty.
  std::string in_use_by;
};

// Errors: those of open(2); kInvalid for what is neither file nor block device; kBusy with the name of who holds it;
// kReadOnly where it is write-protected.
Result<OpenedDisk> open_disk(const std::string& path, const OpenDiskOptions& options);

}  // namespace weft::tools
