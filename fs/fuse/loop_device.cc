#include "fs/fuse/loop_device.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace weft::fs::fuse {

LoopDevice::LoopDevice(LoopDevice&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), path_(std::move(other.path_)) {}

LoopDevice::~LoopDevice() {
  if (fd_ >= 0) ::close(fd_);
}

Result<LoopDevice> LoopDevice::attach(const std::string& image, bool read_only) {
  const int access = read_only ? O_RDONLY : O_RDWR;
  const int image_fd = ::open(image.c_str(), access | O_CLOEXEC);
  if (image_fd < 0) return fail(Error::from_errno(errno, "open " + image));
  const int control = ::open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) {
    const int error = errno;
    ::close(image_fd);
    return fail(Error::from_errno(error, "open /dev/loop-control"));
  }
  int error = EBUSY;
  // Somebody else may take the free one first, or it is only just being let go.
  for (int attempt = 0; attempt < 16 && error == EBUSY; ++attempt) {
    const int number = ::ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) {
      error = errno;
      break;
    }
    std::string path = "/dev/loop" + std::to_string(number);
    const int fd = ::open(path.c_str(), access | O_CLOEXEC);
    if (fd < 0) {
      error = errno;
      break;
    }
    loop_config config{};
    config.fd = static_cast<std::uint32_t>(image_fd);
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_DIRECT_IO;
    if (read_only) config.info.lo_flags |= LO_FLAGS_READ_ONLY;
    const std::size_t shown = std::min<std::size_t>(image.size(), LO_NAME_SIZE - 1);
    std::memcpy(config.info.lo_file_name, image.data(), shown);
    if (::ioctl(fd, LOOP_CONFIGURE, &config) == 0) {
      ::close(control);
      ::close(image_fd);
      return LoopDevice(fd, std::move(path));
    }
    error = errno;
    ::close(fd);
    if (error == EBUSY) ::usleep(10'000);
  }
  ::close(control);
  ::close(image_fd);
  return fail(Error::from_errno(error, "attach a loop device to " + image));
}

}  // namespace weft::fs::fuse
