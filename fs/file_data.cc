#include "fs/file_data.h"

#include <cstring>
#include <optional>
#include <string>

#include "fs/data_in_flight.h"
#include "fs/file_map.h"
#include "kernel/check.h"
#include "kernel/crc32c.h"
#include "kernel/log.h"

namespace weft::fs {
namespace {

std::size_t bytes_of(std::uint64_t blocks) noexcept { return static_cast<std::size_t>(blocks) * kBlockBytes; }

// Zeros for what is not written, and the device asked for all the rest at once.
Status fetch(BlockDevice& device, const std::vector<MappedPiece>& pieces, FileBlock first, std::span<std::byte> into) {
  std::vector<iovec> vectors;
  std::vector<BlockIo> requests;
  vectors.reserve(pieces.size());
  requests.reserve(pieces.size());
  FileBlock at = first;
  std::optional<FileBlock> joinable;  // the last request ends here, in the file
  for (const MappedPiece& piece : pieces) {
    std::byte* const memory = into.data() + bytes_of(piece.first - first);
    std::memset(into.data() + bytes_of(at - first), 0, bytes_of(piece.first - at));
    at = piece.end();
    if (piece.unwritten()) {
      std::memset(memory, 0, bytes_of(piece.blocks.count));
      continue;
    }
    const std::uint64_t offset = bytes_of(piece.blocks.start.value());
    const std::size_t length = bytes_of(piece.blocks.count);
    if (joinable == piece.first && requests.back().offset_bytes + requests.back().length_bytes == offset) {
      vectors.back().iov_len += length;
      requests.back().length_bytes += length;
    } else {
      vectors.push_back({.iov_base = memory, .iov_len = length});
      requests.push_back(
          {.op = BlockOp::kRead, .offset_bytes = offset, .length_bytes = length, .vectors = {&vectors.back(), 1}});
    }
    joinable = piece.end();
  }
  const std::size_t done = bytes_of(at - first);
  std::memset(into.data() + done, 0, into.size() - done);
  if (requests.empty()) return {};
  return device.run(requests);
}

// The first block whose checksum does not fit.
struct Mismatch {
  FileBlock file_block;
  BlockNo block;
};
std::optional<Mismatch> verify(const std::vector<MappedPiece>& pieces, FileBlock first,
                               std::span<const std::byte> data) {
  for (const MappedPiece& piece : pieces) {
    for (std::size_t i = 0; i < piece.checksums.size(); ++i) {
      const FileBlock at = piece.first + i;
      if (crc32c(data.subspan(bytes_of(at - first), kBlockBytes)) != piece.checksums[i])
        return Mismatch{at, piece.blocks.start + i};
    }
  }
  return std::nullopt;
}

}  // namespace

bool direct_io_fits(BlockDevice& device, const std::byte* memory) noexcept {
  return reinterpret_cast<std::uintptr_t>(memory) % device.geometry().alignment_bytes == 0;
}

Status read_blocks(Volume& volume, Inode& inode, FileBlock first, std::span<std::byte> into) {
  WEFT_DEBUG_CHECK(into.size() % kBlockBytes == 0);
  const std::uint64_t count = into.size() / kBlockBytes;
  auto pieces = TRY(find_pieces(volume, inode, first, count));
  while (true) {
    // What the pieces map was counted before it was mapped.
    if (inode.data_in_flight != 0) volume.data_in_flight().wait_for_begun();
    if (auto status = fetch(volume.device(), pieces, first, into); !status) {
      log_error("inode %llu: blocks from %llu of the file on: %s",
                static_cast<unsigned long long>(inode.number().value()), static_cast<unsigned long long>(first.value()),
                status.error().message().c_str());
      return status;
    }
    const auto mismatch = verify(pieces, first, into);
    if (!mismatch) return {};
    auto now = TRY(find_pieces(volume, inode, first, count));
    if (now == pieces) {
      Error error(Errc::kChecksum, "inode " + std::to_string(inode.number().value()) + ": block " +
                                       std::to_string(mismatch->file_block.value()) + " of the file, block " +
                                       std::to_string(mismatch->block.value()) +
                                       " of the volume, does not match its checksum");
      volume.report_damage(error, false);
      return fail(std::move(error));
    }
    pieces = std::move(now);
  }
}

Status write_runs(BlockDevice& device, std::span<const BlockRange> runs, std::span<const std::byte> data) {
  std::vector<iovec> vectors(runs.size());
  std::vector<BlockIo> requests(runs.size());
  std::size_t at = 0;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::size_t length = bytes_of(runs[i].count);
    vectors[i] = {.iov_base = const_cast<std::byte*>(data.data()) + at, .iov_len = length};
    requests[i] = {.op = BlockOp::kWrite,
                   .offset_bytes = bytes_of(runs[i].start.value()),
                   .length_bytes = length,
                   .vectors = {&vectors[i], 1}};
    at += length;
  }
  WEFT_CHECK(at == data.size());
  return device.run(requests);
}

std::vector<std::uint32_t> checksum_blocks(std::span<const std::byte> data) {
  std::vector<std::uint32_t> out(data.size() / kBlockBytes);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = crc32c(data.subspan(i * kBlockBytes, kBlockBytes));
  return out;
}

}  // namespace weft::fs
