// sched/file_system.h - what stands between calls on files and the kernel in a Simulation: the door for simulated files.
//
//   io::open, read, write, fsync ..., FileDisk  ->  the kernel
//                                               ->  [FileSystem], where a Simulation has one (Simulation::use_files)
//
// The calls of io.h, file.h and file_disk.h are requests; in a Simulation with a FileSystem those on paths and on its own
// descriptors come here. Its descriptors are numbers that the kernel never gives (kFirstFd on), so pipes and the like stay real.
#pragma once

#include <span>

#include "kernel/result.h"
#include "kernel/uring_request.h"

namespace weft::sched::io {

struct Call;

class FileSystem {
 public:
  static constexpr int kFirstFd = 1 << 30;  // above the most that fs.nr_open can be

  virtual ~FileSystem() = default;
  // Each result as the system call gives it, or -errno: kOpenat, kStatx, kClose, kRead, kWrite, kReadv, kWritev, kFsync, kFallocate,
  // kRenameat, kUnlinkat; -EOPNOTSUPP for others. All of them together, in no order. Parks, but for kClose.
  virtual void perform(std::span<Call> calls) noexcept = 0;

 protected:
  FileSystem() = default;
  FileSystem(const FileSystem&) = default;
  FileSystem& operator=(const FileSystem&) = default;
};

// Internal. The calling fiber's, if it takes the request; null: the kernel does.
FileSystem* file_system_for(const UringRequest& request) noexcept;

}  // namespace weft::sched::io
