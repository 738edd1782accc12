#include "tools/open_disk.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <fstream>
#include <thread>

#include "fs/fuse/mount.h"
#include "kernel/open_device.h"

namespace weft::tools {

DiskLock::~DiskLock() {
  if (shared_ && fd_ >= 0) ::close(std::exchange(fd_, -1));
  release();
}

void DiskLock::release() noexcept {
  if (fd_ < 0) return;
  // Explicitly: other descriptors of the same open file may live on.
  ::flock(fd_, LOCK_UN);
  ::close(std::exchange(fd_, -1));
}

namespace {

// "mount.weft (process 123)" for who holds a flock on the file, by /proc/locks; "another program" if it does not say.
std::string holder_of(const struct stat& file) {
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    char kind[16] = {}, strength[16] = {}, access[16] = {};
    int pid = 0;
    unsigned device_major = 0, device_minor = 0;
    unsigned long inode = 0;
    if (std::sscanf(line.c_str(), "%*d: %15s %15s %15s %d %x:%x:%lu", kind, strength, access, &pid, &device_major,
                    &device_minor, &inode) != 7) {
      continue;
    }
    if (std::string_view(kind) != "FLOCK" || inode != file.st_ino || device_major != major(file.st_dev) ||
        device_minor != minor(file.st_dev)) {
      continue;
    }
    std::string name;
    std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
    if (!std::getline(comm, name)) name = "a program";
    return name + " (process " + std::to_string(pid) + ")";
  }
  return "another program";
}

Status lock_file(int fd, const struct stat& file, const std::string& path, const OpenDiskOptions& options) {
  const int how = (options.read_only ? LOCK_SH : LOCK_EX) | LOCK_NB;
  const auto until = std::chrono::steady_clock::now() + options.patience;
  while (::flock(fd, how) != 0) {
    const int error = errno;
    if (error != EWOULDBLOCK && error != EINTR) {
      // A file system without locks (some network ones): then there is none to respect.
      return {};
    }
    if (std::chrono::steady_clock::now() >= until) return fail(Errc::kBusy, path + " is in use by " + holder_of(file));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return {};
}

}  // namespace

Result<OpenedDisk> open_disk(const std::string& path, const OpenDiskOptions& options) {
  struct stat facts{};
  if (options.refuse_mounted && ::stat(path.c_str(), &facts) == 0 && S_ISBLK(facts.st_mode)) {
    if (const auto where = fs::fuse::mount_point_of_device(facts.st_rdev)) {
      return fail(Errc::kBusy, path + " is mounted at " + *where);
    }
  }
  OpenDevice device = TRY(open_device(path, {.read_only = options.read_only, .claim = options.claim_device}));
  if (::fstat(device.fd(), &facts) != 0) return fail(Error::from_errno(errno, device.path));
  OpenedDisk opened;
  struct stat held{};
  if (options.held_lock >= 0) {
    if (::fstat(options.held_lock, &held) != 0) return fail(Error::from_errno(errno, "the image's lock"));
    if (held.st_dev != facts.st_dev || held.st_ino != facts.st_ino)
      return fail(Errc::kInvalid, device.path + " is another file than the one that was mounted");
  } else if (auto locked = lock_file(device.fd(), facts, device.path, options); !locked) {
    if (!options.even_if_in_use || !(locked.error() == Errc::kBusy)) return fail(std::move(locked).error());
    opened.in_use_by = holder_of(facts);
  } else if (options.even_if_in_use && device.is_block_device) {
    if (const auto where = fs::fuse::mount_point_of_device(facts.st_rdev)) opened.in_use_by = "the mount at " + *where;
  }
  opened.path = device.path;
  opened.is_block_device = device.is_block_device;
  if (!device.direct && !device.memory_backed) {
    opened.note = device.path + ": its file system has no direct I/O; data is cached twice";
  }
  const int lock_fd = options.held_lock >= 0 ? options.held_lock : ::fcntl(device.fd(), F_DUPFD_CLOEXEC, 3);
  if (lock_fd < 0) return fail(Error::from_errno(errno, "dup"));
  opened.lock = DiskLock(lock_fd);
  if (options.held_lock >= 0) opened.lock.share();
  opened.disk = std::make_unique<sched::FileDisk>(sched::FileDisk::Options{
      .fd = device.fd(),
      .geometry = device.geometry,
      .name = path,
      .is_block_device = device.is_block_device,
      .memory_backed = device.memory_backed,
  });
  static_cast<void>(device.release());  // the disk's now
  return opened;
}

}  // namespace weft::tools
