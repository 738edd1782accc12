#include "kernel/open_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <fstream>
#include <utility>

#include "kernel/units.h"

namespace weft {
namespace {

constexpr std::uint32_t kLeastAlignment = 512;
constexpr std::uint32_t kMostAlignment = 4096;

Result<int> open_descriptor(const std::string& path, const OpenDeviceOptions& options, int extra) {
  const bool creates = options.create_bytes != 0 && !options.read_only;
  const int flags = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | (creates ? O_CREAT : 0) | extra;
  const int fd = ::open(path.c_str(), flags, 0600);
  if (fd >= 0) return fd;
  const int os_errno = errno;
  if (os_errno == EBUSY) return fail(Errc::kBusy, path + ": in use (mounted, or held by another program)");
  return fail(Error::from_errno(os_errno, "open " + path));
}

// The kernel knows best, from Linux 6.1 on and with headers of that age; 0 if it does not say.
std::uint32_t direct_alignment(int fd) {
#ifdef STATX_DIOALIGN
  struct statx facts{};
  if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) == 0 && (facts.stx_mask & STATX_DIOALIGN) != 0)
    return std::max(facts.stx_dio_mem_align, facts.stx_dio_offset_align);
#else
  static_cast<void>(fd);
#endif
  return 0;
}

std::uint32_t usable_alignment(std::uint32_t wanted) {
  return std::clamp(std::bit_ceil(std::max(wanted, kLeastAlignment)), kLeastAlignment, kMostAlignment);
}

bool device_discards(dev_t device) {
  const std::string number = std::to_string(major(device)) + ":" + std::to_string(minor(device));
  // A partition has no queue of its own; its disk's is one up.
  for (const std::string middle : {"/queue/", "/../queue/"}) {
    std::ifstream file("/sys/dev/block/" + number + middle + "discard_max_bytes");
    std::uint64_t most = 0;
    if (file >> most) return most > 0;
  }
  return false;
}

bool in_memory(int fd) {
  struct statfs facts{};
  if (fstatfs(fd, &facts) != 0) return false;
  return facts.f_type == TMPFS_MAGIC || facts.f_type == RAMFS_MAGIC;
}

}  // namespace

OpenDevice::OpenDevice(OpenDevice&& other) noexcept
    : path(std::move(other.path)),
      geometry(other.geometry),
      is_block_device(other.is_block_device),
      direct(other.direct),
      memory_backed(other.memory_backed),
      fd_(std::exchange(other.fd_, -1)) {}

OpenDevice& OpenDevice::operator=(OpenDevice&& other) noexcept {
  path.swap(other.path);
  geometry = other.geometry;
  is_block_device = other.is_block_device;
  direct = other.direct;
  memory_backed = other.memory_backed;
  std::swap(fd_, other.fd_);
  return *this;
}

OpenDevice::~OpenDevice() {
  if (fd_ >= 0) ::close(fd_);
}

Result<OpenDevice> open_device(const std::string& path, const OpenDeviceOptions& options) {
  struct stat before{};
  const bool is_device = ::stat(path.c_str(), &before) == 0 && S_ISBLK(before.st_mode);
  // On a block device O_EXCL keeps out file systems mounted by the kernel, and keeps them out while it is ours.
  const int exclusive = is_device && options.exclusive ? O_EXCL : 0;

  Result<int> opened = open_descriptor(path, options, exclusive | (options.direct ? O_DIRECT : 0));
  bool direct = options.direct;
  if (!opened && options.direct && opened.error().os_errno() == EINVAL) {
    if (options.require_direct)
      return fail(Errc::kUnsupported,
                  path + ": its file system has no direct I/O; choose another place or allow buffered I/O");
    direct = false;
    opened = open_descriptor(path, options, exclusive);
  }
  OpenDevice device(TRY(std::move(opened)));
  device.path = path;
  device.direct = direct;
  const int fd = device.fd();

  struct stat facts{};
  if (fstat(fd, &facts) != 0) return fail(Error::from_errno(errno, "stat " + path));
  device.is_block_device = S_ISBLK(facts.st_mode);
  if (!device.is_block_device && !S_ISREG(facts.st_mode))
    return fail(Errc::kInvalid, path + ": neither a file nor a block device");

  if (options.exclusive && flock(fd, (options.read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
    if (errno == EWOULDBLOCK) return fail(Errc::kBusy, path + ": in use by another Weft");
    return fail(Error::from_errno(errno, "lock " + path));
  }

  std::uint32_t alignment = kLeastAlignment;
  if (device.is_block_device) {
    std::uint64_t size_bytes = 0;
    int sector_bytes = 0;
    if (ioctl(fd, BLKGETSIZE64, &size_bytes) != 0 || ioctl(fd, BLKSSZGET, &sector_bytes) != 0)
      return fail(Error::from_errno(errno, "size of " + path));
    device.geometry.size_bytes = size_bytes;
    alignment = static_cast<std::uint32_t>(sector_bytes);
    device.geometry.can_discard = !options.read_only && device_discards(facts.st_rdev);
  } else {
    if (facts.st_size == 0 && options.create_bytes != 0 && !options.read_only) {
      if (ftruncate(fd, static_cast<off_t>(options.create_bytes)) != 0)
        return fail(Error::from_errno(errno, "size " + path));
      facts.st_size = static_cast<off_t>(options.create_bytes);
    }
    device.geometry.size_bytes = static_cast<std::uint64_t>(facts.st_size);
    device.memory_backed = in_memory(fd);
    // Where the kernel does not say, 512 is right except on disks with larger sectors, whose blocks are 4096.
    const std::uint32_t told = direct_alignment(fd);
    if (direct) alignment = told != 0 ? told : 512;
    // Punching past the end changes nothing, and tells whether the file system can.
    device.geometry.can_discard = !options.read_only && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                                                  facts.st_size, kMostAlignment) == 0;
  }
  if (alignment > kMostAlignment)
    return fail(Errc::kUnsupported, path + ": wants requests aligned to more than 4096 bytes");
  device.geometry.alignment_bytes = usable_alignment(alignment);
  device.geometry.read_only = options.read_only;
  device.geometry.size_bytes = round_down(device.geometry.size_bytes, device.geometry.alignment_bytes);
  if (device.geometry.size_bytes == 0) return fail(Errc::kInvalid, path + ": is empty");
  return device;
}

}  // namespace weft
