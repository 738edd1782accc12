// tools/weft_trim.cc - `weft trim`: tells the device below which blocks are free.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

#include "fs/file_system.h"
#include "tools/weft_commands.h"

namespace weft::tools {

Result<std::uint64_t> trim_mount(const std::string& directory, const TrimOptions& options) {
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return fail(Error::from_errno(errno, directory));
  fstrim_range range{.start = options.offset_bytes, .len = options.length_bytes, .minlen = options.minimum_bytes};
  const int error = ::ioctl(fd, FITRIM, &range) != 0 ? errno : 0;
  ::close(fd);
  if (error == ENOTTY || error == EOPNOTSUPP) {
    return fail(Errc::kUnsupported, directory + ": the file system, or the device below it, cannot discard");
  }
  if (error != 0) return fail(Error::from_errno(error, "trim " + directory));
  return range.len;
}

Result<std::uint64_t> trim_device(BlockDevice& device, const TrimOptions& options) {
  fs::FileSystemOptions mounting;
  mounting.volume.background = false;
  const auto file_system = TRY(fs::FileSystem::mount(device, mounting));
  const auto trimmed = file_system->trim(options.offset_bytes, options.length_bytes, options.minimum_bytes);
  TRY(file_system->unmount());
  return trimmed;
}

}  // namespace weft::tools
