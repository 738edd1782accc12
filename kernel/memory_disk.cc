#include "kernel/memory_disk.h"

#include <mutex>
#include <utility>

namespace weft {

MemoryDisk::MemoryDisk(std::uint64_t size_bytes, std::uint32_t alignment_bytes, std::string name)
    : MemoryDisk(DiskImage(size_bytes), alignment_bytes, std::move(name)) {}

MemoryDisk::MemoryDisk(DiskImage image, std::uint32_t alignment_bytes, std::string name)
    : geometry_{.size_bytes = image.size_bytes(),
                .alignment_bytes = alignment_bytes,
                .can_discard = true,
                .read_only = false},
      name_(std::move(name)),
      image_(std::move(image)) {}

Status MemoryDisk::run(std::span<const BlockIo> requests) {
  Status first_error;
  for (const BlockIo& io : requests) {
    if (auto checked = check_block_io(geometry_, io, name_); !checked) {
      if (first_error) first_error = std::move(checked);
      continue;
    }
    std::uint64_t offset = io.offset_bytes;
    switch (io.op) {
      case BlockOp::kRead: {
        const std::shared_lock lock(mutex_);
        for (const iovec& vector : io.vectors) {
          image_.read(offset, {static_cast<std::byte*>(vector.iov_base), vector.iov_len});
          offset += vector.iov_len;
        }
        break;
      }
      case BlockOp::kWrite: {
        const std::lock_guard lock(mutex_);
        for (const iovec& vector : io.vectors) {
          image_.write(offset, {static_cast<const std::byte*>(vector.iov_base), vector.iov_len});
          offset += vector.iov_len;
        }
        break;
      }
      case BlockOp::kDiscard: {
        const std::lock_guard lock(mutex_);
        image_.discard(io.offset_bytes, io.length_bytes);
        break;
      }
      case BlockOp::kFlush: break;
    }
  }
  return first_error;
}

DiskImage MemoryDisk::copy() const {
  const std::shared_lock lock(mutex_);
  return image_;
}

}  // namespace weft
