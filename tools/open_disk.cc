#include "tools/open_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "fs/fuse/mount.h"
#include "kernel/units.h"

namespace weft::tools {

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

bool device_can_discard(dev_t device) {
  const std::string folder = "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
  for (const char* queue : {"/queue/discard_max_bytes", "/../queue/discard_max_bytes"}) {
    unsigned long long most = 0;
    if (std::ifstream(folder + queue) >> most) return most > 0;
  }
  return false;
}

// What direct I/O on the file must be aligned to.
std::uint32_t alignment_of(int fd, bool direct) {
  if (!direct) return 512;
  std::uint32_t alignment = 4096;
#ifdef STATX_DIOALIGN
  struct statx facts{};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) == 0 && (facts.stx_mask & STATX_DIOALIGN) != 0 &&
      facts.stx_dio_offset_align != 0) {
    alignment = std::max(facts.stx_dio_mem_align, facts.stx_dio_offset_align);
  }
#else
  static_cast<void>(fd);
#endif
  return std::clamp<std::uint32_t>(std::bit_ceil(alignment), 512, 4096);
}

}  // namespace

Result<OpenedDisk> open_disk(const std::string& given_path, const OpenDiskOptions& options) {
  OpenedDisk opened;
  char resolved[PATH_MAX];
  if (::realpath(given_path.c_str(), resolved) == nullptr) return fail(Error::from_errno(errno, given_path));
  opened.path = resolved;
  struct stat file{};
  if (::stat(resolved, &file) != 0) return fail(Error::from_errno(errno, opened.path));
  opened.is_block_device = S_ISBLK(file.st_mode);
  if (!opened.is_block_device && !S_ISREG(file.st_mode)) {
    return fail(Errc::kInvalid, opened.path + " is neither a file nor a block device");
  }
  if (opened.is_block_device && options.refuse_mounted) {
    if (const auto where = fs::fuse::mount_point_of_device(file.st_rdev)) {
      return fail(Errc::kBusy, opened.path + " is mounted at " + *where);
    }
  }
  struct statfs below{};
  const bool in_memory = !opened.is_block_device && ::statfs(resolved, &below) == 0 &&
                         (below.f_type == TMPFS_MAGIC || below.f_type == RAMFS_MAGIC);
  int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
  if (opened.is_block_device && options.claim_device && !options.read_only) flags |= O_EXCL;
  bool direct = !in_memory;
  int fd = ::open(resolved, flags | (direct ? O_DIRECT : 0));
  if (fd < 0 && errno == EINVAL && direct) {
    direct = false;
    fd = ::open(resolved, flags);
    if (fd >= 0) opened.note = opened.path + ": its file system has no direct I/O; data is cached twice";
  }
  if (fd < 0) {
    if (errno == EBUSY)
      return fail(Errc::kBusy, opened.path + " is in use by the system (mounted, swap, RAID, LVM or a loop device)");
    return fail(Error::from_errno(errno, "open " + opened.path));
  }
  auto disk = std::make_unique<sched::FileDisk>(sched::FileDisk::Options{
      .fd = fd,
      .geometry = {},
      .name = opened.path,
  });
  // The temporary owner closes it on the errors below.
  BlockDevice::Geometry geometry;
  geometry.size_bytes = static_cast<std::uint64_t>(file.st_size);
  geometry.read_only = options.read_only;
  geometry.can_discard = !options.read_only;
  geometry.alignment_bytes = alignment_of(fd, direct);
  if (opened.is_block_device) {
    std::uint64_t size = 0;
    int write_protected = 0;
    int sector = 0;
    if (::ioctl(fd, BLKGETSIZE64, &size) != 0) return fail(Error::from_errno(errno, "size of " + opened.path));
    if (::ioctl(fd, BLKROGET, &write_protected) == 0 && write_protected != 0 && !options.read_only) {
      return fail(Errc::kReadOnly, opened.path + " is write-protected");
    }
    if (::ioctl(fd, BLKSSZGET, &sector) == 0 && sector >= 512 && sector <= 4096) {
      geometry.alignment_bytes = static_cast<std::uint32_t>(sector);
    }
    geometry.size_bytes = size;
    geometry.can_discard = geometry.can_discard && device_can_discard(file.st_rdev);
  }
  geometry.size_bytes = round_down(geometry.size_bytes, geometry.alignment_bytes);
  TRY(lock_file(fd, file, opened.path, options));
  const int lock_fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (lock_fd < 0) return fail(Error::from_errno(errno, "dup"));
  opened.lock = DiskLock(lock_fd);
  const int disk_fd = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (disk_fd < 0) return fail(Error::from_errno(errno, "dup"));
  opened.disk = std::make_unique<sched::FileDisk>(sched::FileDisk::Options{
      .fd = disk_fd,
      .geometry = geometry,
      .name = given_path,
      .is_block_device = opened.is_block_device,
      .memory_backed = in_memory,
  });
  return opened;
}

}  // namespace weft::tools
