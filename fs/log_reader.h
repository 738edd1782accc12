// fs/log_reader.h - a window on the log: the record at an offset, if a whole one is there.
//
//   journal_replay, fsck, weft log  ->  [log_reader]  ->  block device
//
// A span it returns is valid until the next call. Thread-safety: none. Parks on the device.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "fs/aligned_buffer.h"
#include "fs/format.h"
#include "fs/layout.h"
#include "kernel/block_device.h"
#include "kernel/result.h"

namespace weft::fs {

class LogReader {
 public:
  LogReader(BlockDevice& device, const DiskUuid& uuid, const Layout& layout);

  struct Record {
    DiskRecord header;
    std::span<const std::byte> bytes;  // header and transactions
    [[nodiscard]] std::span<const std::byte> transactions() const noexcept { return bytes.subspan(sizeof(DiskRecord)); }
  };
  // Nothing where no record of this volume with a matching checksum starts at `offset_bytes` of the log. Its epoch and
  // sequence are the caller's to judge.
  Result<std::optional<Record>> record_at(std::uint64_t offset_bytes);
  // First offset at or after `from_bytes`, below `to_bytes`, where a record may start; `to_bytes` if there is none.
  Result<std::uint64_t> find_magic(std::uint64_t from_bytes, std::uint64_t to_bytes);
  [[nodiscard]] std::uint64_t log_bytes() const noexcept { return log_bytes_; }
  // What record_at() has summed so far: its cost.
  [[nodiscard]] std::uint64_t summed_bytes() const noexcept { return summed_bytes_; }

 private:
  // The log's bytes from `offset_bytes` on, at least `want_bytes` or as many as there are before its end.
  Result<std::span<const std::byte>> window(std::uint64_t offset_bytes, std::uint64_t want_bytes);

  BlockDevice& device_;
  const DiskUuid uuid_;
  const std::uint64_t log_offset_bytes_;
  const std::uint64_t log_bytes_;
  AlignedBuffer buffer_;
  std::uint64_t start_bytes_ = 0;
  std::uint64_t held_bytes_ = 0;
  std::uint64_t summed_bytes_ = 0;
};

}  // namespace weft::fs
