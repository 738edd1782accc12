#include "kernel/open_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "kernel/units.h"

namespace weft {
namespace {

constexpr std::uint32_t kLeastAlignment = 512;
constexpr std::uint32_t kMostAlignment = 4096;

Result<int> open_descriptor(const std::string& path, const OpenDeviceOptions& options, int extra) {
  const int fd = ::open(path.c_str(), (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | extra);
  if (fd >= 0) return fd;
  const int os_errno = errno;
  if (os_errno == EBUSY) {
    return fail(Errc::kBusy, path + " is in use by the system (mounted, swap, RAID, LVM or a loop device)");
  }
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

bool device_discards(dev_t device) {
  const std::string folder = "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
  // A partition has no queue of its own; its disk's is one up.
  for (const char* const limit : {"/queue/discard_max_bytes", "/../queue/discard_max_bytes"}) {
    std::ifstream file(folder + limit);
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
      device_number(other.device_number),
      direct(other.direct),
      memory_backed(other.memory_backed),
      fd_(std::exchange(other.fd_, -1)) {}

OpenDevice& OpenDevice::operator=(OpenDevice&& other) noexcept {
  path.swap(other.path);
  geometry = other.geometry;
  is_block_device = other.is_block_device;
  device_number = other.device_number;
  direct = other.direct;
  memory_backed = other.memory_backed;
  std::swap(fd_, other.fd_);
  return *this;
}

OpenDevice::~OpenDevice() {
  if (fd_ >= 0) ::close(fd_);
}

namespace {

Status examine_disk(OpenDevice& device, const OpenDeviceOptions& options) {
  std::uint64_t size_bytes = 0;
  int sector_bytes = 0;
  int write_protected = 0;
  if (ioctl(device.fd(), BLKGETSIZE64, &size_bytes) != 0 || ioctl(device.fd(), BLKSSZGET, &sector_bytes) != 0) {
    return fail(Error::from_errno(errno, "size of " + device.path));
  }
  if (!options.read_only && ioctl(device.fd(), BLKROGET, &write_protected) == 0 && write_protected != 0) {
    return fail(Errc::kReadOnly, device.path + " is write-protected");
  }
  device.geometry.size_bytes = size_bytes;
  device.geometry.alignment_bytes = static_cast<std::uint32_t>(sector_bytes);
  device.geometry.can_discard = !options.read_only && device_discards(device.device_number);
  return {};
}

void examine_file(OpenDevice& device, const OpenDeviceOptions& options, off_t size_bytes) {
  device.geometry.size_bytes = static_cast<std::uint64_t>(size_bytes);
  device.memory_backed = in_memory(device.fd());
  // Where the kernel does not say, 512 is right except on disks with larger sectors, whose blocks are 4096.
  device.geometry.alignment_bytes = device.direct ? direct_alignment(device.fd()) : kLeastAlignment;
  // Punching past the end changes nothing, and tells whether the file system can.
  device.geometry.can_discard = !options.read_only && fallocate(device.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                                                size_bytes, kMostAlignment) == 0;
}

}  // namespace

Result<OpenDevice> open_device(const std::string& path, const OpenDeviceOptions& options) {
  char resolved[PATH_MAX];
  if (::realpath(path.c_str(), resolved) == nullptr) return fail(Error::from_errno(errno, path));
  struct stat facts{};
  if (::stat(resolved, &facts) != 0) return fail(Error::from_errno(errno, resolved));
  const bool is_disk = S_ISBLK(facts.st_mode);
  if (!is_disk && !S_ISREG(facts.st_mode)) {
    return fail(Errc::kInvalid, std::string(resolved) + " is neither a file nor a block device");
  }
  const int claim = is_disk && options.claim && !options.read_only ? O_EXCL : 0;
  auto opened = open_descriptor(resolved, options, claim | O_DIRECT);
  bool direct = true;
  if (!opened && opened.error().os_errno() == EINVAL) {
    direct = false;
    opened = open_descriptor(resolved, options, claim);
  }
  OpenDevice device(TRY(std::move(opened)));
  device.path = resolved;
  device.direct = direct;
  if (fstat(device.fd(), &facts) != 0) return fail(Error::from_errno(errno, device.path));
  device.is_block_device = S_ISBLK(facts.st_mode);
  device.device_number = facts.st_rdev;
  if (device.is_block_device) {
    TRY(examine_disk(device, options));
  } else {
    examine_file(device, options, facts.st_size);
  }
  BlockDevice::Geometry& geometry = device.geometry;
  geometry.alignment_bytes = std::bit_ceil(std::max(geometry.alignment_bytes, kLeastAlignment));
  if (geometry.alignment_bytes > kMostAlignment) {
    return fail(Errc::kUnsupported, device.path + " wants requests aligned to more than 4096 bytes");
  }
  geometry.read_only = options.read_only;
  geometry.size_bytes = round_down(geometry.size_bytes, geometry.alignment_bytes);
  if (geometry.size_bytes == 0) return fail(Errc::kInvalid, device.path + " is empty");
  return device;
}

}  // namespace weft
