#include "kernel/posix_disk.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>

namespace weft {

Status PosixDisk::transfer(const BlockIo& io) {
  std::uint64_t offset = io.offset_bytes;
  for (const iovec& vector : io.vectors) {
    auto* data = static_cast<std::byte*>(vector.iov_base);
    std::size_t left = vector.iov_len;
    while (left > 0) {
      const auto at = static_cast<off_t>(offset);
      const ssize_t moved =
          io.op == BlockOp::kRead ? pread(device_.fd(), data, left, at) : pwrite(device_.fd(), data, left, at);
      if (moved < 0 && errno == EINTR) continue;
      if (moved <= 0) {
        const std::string what = std::string(io.op == BlockOp::kRead ? "read " : "write ") + device_.path +
                                 " at offset " + std::to_string(offset);
        if (moved == 0) return fail(Errc::kIo, what + ": the device ends early");
        return fail(Error::from_errno(errno, what));
      }
      data += moved;
      left -= static_cast<std::size_t>(moved);
      offset += static_cast<std::uint64_t>(moved);
    }
  }
  return {};
}

Status PosixDisk::run_one(const BlockIo& io) {
  if (auto checked = check_block_io(device_.geometry, io, device_.path); !checked) return checked;
  switch (io.op) {
    case BlockOp::kRead:
    case BlockOp::kWrite: return transfer(io);
    case BlockOp::kFlush:
      if (device_.geometry.read_only || fdatasync(device_.fd()) == 0) return {};
      return fail(Error::from_errno(errno, "flush " + device_.path));
    case BlockOp::kDiscard: {
      if (io.length_bytes == 0) return {};
      std::uint64_t range[2] = {io.offset_bytes, io.length_bytes};
      const int result = device_.is_block_device
                             ? ioctl(device_.fd(), BLKDISCARD, range)
                             : fallocate(device_.fd(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                         static_cast<off_t>(io.offset_bytes), static_cast<off_t>(io.length_bytes));
      if (result == 0) return {};
      return fail(Error::from_errno(errno, "discard " + device_.path));
    }
  }
  return fail(Errc::kInvalid, device_.path + ": unknown request");
}

// A flush among writes of the same batch promises nothing of them (D2), so the order given is as good as any.
Status PosixDisk::run(std::span<const BlockIo> requests) {
  Status first_error;
  for (const BlockIo& io : requests) {
    auto status = run_one(io);
    if (!status && first_error) first_error = std::move(status);
  }
  return first_error;
}

}  // namespace weft
