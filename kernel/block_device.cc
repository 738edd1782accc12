#include "kernel/block_device.h"

namespace weft {
namespace {

std::string describe_range(const BlockIo& io, const std::string& name) {
  return name + ": " + std::to_string(io.length_bytes) + " bytes at offset " + std::to_string(io.offset_bytes);
}

}  // namespace

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

Status check_block_io(const BlockDevice::Geometry& geometry, const BlockIo& io, const std::string& name) {
  if (io.op == BlockOp::kFlush) return {};
  if (io.op != BlockOp::kRead && geometry.read_only)
    return fail(Errc::kReadOnly, describe_range(io, name) + ": the device is read-only");
  if (io.op == BlockOp::kDiscard && !geometry.can_discard) return fail(Errc::kUnsupported, name + ": cannot discard");

  const std::uint64_t mask = geometry.alignment_bytes - 1;
  std::uint64_t misfit = io.offset_bytes | io.length_bytes;
  if (io.op != BlockOp::kDiscard) {
    std::uint64_t total = 0;
    for (const iovec& vector : io.vectors) {
      misfit |= reinterpret_cast<std::uintptr_t>(vector.iov_base) | vector.iov_len;
      total += vector.iov_len;
    }
    if (total != io.length_bytes)
      return fail(Errc::kInvalid, describe_range(io, name) + ": its vectors hold " + std::to_string(total));
  }
  if ((misfit & mask) != 0)
    return fail(Errc::kInvalid,
                describe_range(io, name) + ": not aligned to " + std::to_string(geometry.alignment_bytes));
  if (io.length_bytes > geometry.size_bytes || io.offset_bytes > geometry.size_bytes - io.length_bytes)
    return fail(Errc::kInvalid, describe_range(io, name) + ": past the end of a device of " +
                                    std::to_string(geometry.size_bytes) + " bytes");
  return {};
}

}  // namespace weft
