// kernel/block_device.h - the contract between everything that stores and whatever it stores on.
//
//   fs, net  ->  [BlockDevice]  ->  file or disk over io_uring | memory | SimDisk | RecordingDisk | replicated
//
// What a device promises:
//   D1  run() starts all of its requests together, in no order, and returns when all have ended.
//   D2  A flush makes durable every write that had completed before the flush was submitted, and promises nothing of
//       others. Until then a completed write may be lost, and an interrupted one may be torn at 512 bytes.
//   D3  A failed request has done anything between nothing and all of its work. After a failed flush nothing written since
//       the last good one may be taken for durable, not even if a later flush succeeds.
//   D4  Reads see every completed write, durable or not.
//
// Offsets, lengths and buffers are multiples of Geometry::alignment_bytes; a request that is not, or that reaches past the
// end, is refused with kInvalid and touches nothing. Buffers belong to the device until run() returns.
//
// Thread- and fiber-safety: all methods from any thread or fiber at once. run() may park the calling fiber.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernel/result.h"

namespace weft {

enum class BlockOp : std::uint8_t { kRead, kWrite, kFlush, kDiscard };

// One request. `vectors` (which the caller keeps alive) lie one after the other from `offset_bytes` on the device.
struct BlockIo {
  BlockOp op = BlockOp::kRead;
  std::uint64_t offset_bytes = 0;
  std::uint64_t length_bytes = 0;  // of all vectors together; the range of a discard; 0 for a flush
  std::span<const iovec> vectors;  // empty for flush and discard
};

class BlockDevice {
 public:
  struct Geometry {
    std::uint64_t size_bytes = 0;
    std::uint32_t alignment_bytes = 512;  // power of two, 512..4096: of offsets, lengths and memory
    bool can_discard = false;
    bool read_only = false;
  };

  virtual ~BlockDevice() = default;
  BlockDevice(const BlockDevice&) = delete;
  BlockDevice& operator=(const BlockDevice&) = delete;

  [[nodiscard]] virtual Geometry geometry() const noexcept = 0;
  // What people call it, for messages: "/dev/sdb1", "disk.img", "memory".
  [[nodiscard]] virtual std::string name() const = 0;

  // Does all of `requests`; the first error in their order, with name and offset in its message, if any failed.
  virtual Status run(std::span<const BlockIo> requests) = 0;

  // Single requests in everyday dress.
  Status read(std::uint64_t offset_bytes, std::span<std::byte> into);
  Status write(std::uint64_t offset_bytes, std::span<const std::byte> from);
  Status flush();
  Status discard(std::uint64_t offset_bytes, std::uint64_t length_bytes);

 protected:
  BlockDevice() = default;
};

// What every device checks before it touches anything: kInvalid if `io` is misaligned, reaches past the end or its vectors
// do not add up, kReadOnly and kUnsupported as the geometry says. `name` leads the message.
Status check_block_io(const BlockDevice::Geometry& geometry, const BlockIo& io, const std::string& name);

}  // namespace weft
