#include "fs/log_reader.h"

#include <algorithm>
#include <cstring>

#include "fs/format_check.h"
#include "kernel/planted_bug.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {
constexpr std::uint64_t kWindowBytes = 2 * std::uint64_t{kMaxRecordBytes};
}

LogReader::LogReader(BlockDevice& device, const DiskUuid& uuid, const Layout& layout)
    : device_(device),
      uuid_(uuid),
      log_offset_bytes_(layout.log_offset_bytes()),
      log_bytes_(layout.log_bytes()),
      buffer_(std::min<std::uint64_t>(kWindowBytes, layout.log_bytes())) {}

Result<std::span<const std::byte>> LogReader::window(std::uint64_t offset_bytes, std::uint64_t want_bytes) {
  const std::uint64_t end = std::min(offset_bytes + want_bytes, log_bytes_);
  if (offset_bytes < start_bytes_ || end > start_bytes_ + held_bytes_) {
    start_bytes_ = round_down(offset_bytes, kBlockBytes);
    // Small steps at first: a log that holds a few records is read in little.
    const std::uint64_t step = held_bytes_ == 0 ? 64 * kKiB : kWindowBytes;
    held_bytes_ = 0;
    const std::uint64_t bytes = std::min({std::max(step, round_up(end - start_bytes_, kBlockBytes)),
                                          std::uint64_t{buffer_.size()}, log_bytes_ - start_bytes_});
    TRY(device_.read(log_offset_bytes_ + start_bytes_, buffer_.bytes().first(bytes)));
    held_bytes_ = bytes;
  }
  return std::span<const std::byte>(buffer_.bytes())
      .subspan(offset_bytes - start_bytes_, start_bytes_ + held_bytes_ - offset_bytes);
}

Result<std::optional<LogReader::Record>> LogReader::record_at(std::uint64_t offset_bytes) {
  std::span<const std::byte> bytes = TRY(window(offset_bytes, kLogUnitBytes));
  Record record;
  std::memcpy(&record.header, bytes.data(), sizeof(DiskRecord));
  if (!plausible_record(record.header, uuid_, log_bytes_ - offset_bytes)) return std::nullopt;
  bytes = TRY(window(offset_bytes, record.header.stored_bytes));
  record.bytes = bytes.first(record.header.length_bytes);
  summed_bytes_ += record.bytes.size();
  if (!record_crc_matches(record.bytes) && !planted(Bug::kRecordNotVerified)) return std::nullopt;
  return record;
}

Result<std::uint64_t> LogReader::find_magic(std::uint64_t from_bytes, std::uint64_t to_bytes) {
  const le32 magic = kRecordMagic;
  for (std::uint64_t at = from_bytes; at < to_bytes;) {
    const std::span<const std::byte> bytes = TRY(window(at, kLogUnitBytes));
    for (std::size_t i = 0; i + kLogUnitBytes <= bytes.size() && at < to_bytes;
         i += kLogUnitBytes, at += kLogUnitBytes) {
      if (std::memcmp(bytes.data() + i, &magic, sizeof(magic)) == 0) return at;
    }
  }
  return to_bytes;
}

}  // namespace weft::fs
