#include "kernel/block_device.h"

namespace weft {

Status BlockDevice::read(std::uint64_t offset_bytes, std::span<std::byte> into) {
  const iovec vector{into.data(), into.size()};
  const BlockIo io{BlockOp::kRead, offset_bytes, into.size(), {&vector, 1}};
  return run({&io, 1});
}

Status BlockDevice::write(std::uint64_t offset_bytes, std::span<const std::byte> from) {
  // iovec has no const form; a write never stores through it.
  const iovec vector{const_cast<std::byte*>(from.data()), from.size()};
  const BlockIo io{BlockOp::kWrite, offset_bytes, from.size(), {&vector, 1}};
  return run({&io, 1});
}

Status BlockDevice::flush() {
  const BlockIo io{BlockOp::kFlush, 0, 0, {}};
  return run({&io, 1});
}

Status BlockDevice::discard(std::uint64_t offset_bytes, std::uint64_t length_bytes) {
  const BlockIo io{BlockOp::kDiscard, offset_bytes, length_bytes, {}};
  return run({&io, 1});
}

}  // namespace weft
