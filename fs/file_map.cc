#include "fs/file_map.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <string>

#include "kernel/bytes.h"

namespace weft::fs {
namespace {

bool is_plain(const DiskExtent& disk) { return (disk.flags & (kExtentUnwritten | kExtentNoChecksum)) != 0; }

// False: the bytes cannot be an extent.
bool parse(std::span<const std::byte> value, DiskExtent& disk) {
  if (value.size() < sizeof disk) return false;
  std::memcpy(&disk, value.data(), sizeof disk);
  const bool plain = is_plain(disk);
  if (disk.length == 0 || (disk.flags & ~kExtentFlagsKnown) != 0 ||
      disk.length > (plain ? kMaxPlainBlocks : kMaxChecksummedBlocks))
    return false;
  return value.size() == sizeof disk + (plain ? 0 : disk.length * sizeof(le32));
}

// The part of the extent that lies in [first, end). False: as parse().
bool cut(Key key, std::span<const std::byte> value, FileBlock first, FileBlock end, std::vector<MappedPiece>& out) {
  DiskExtent disk;
  if (!parse(value, disk)) return false;
  const FileBlock start(key.offset());
  const FileBlock from = std::max(start, first);
  const FileBlock to = std::min(start + disk.length, end);
  if (from >= to) return true;
  const std::uint64_t skip = from - start;
  MappedPiece piece{
      .first = from, .blocks = {BlockNo(disk.block + skip), to - from}, .flags = disk.flags, .checksums = {}};
  if (!is_plain(disk)) {
    piece.checksums.resize(piece.blocks.count);
    for (std::uint64_t i = 0; i < piece.blocks.count; ++i) {
      le32 checksum;
      std::memcpy(&checksum, value.data() + sizeof disk + (skip + i) * sizeof checksum, sizeof checksum);
      piece.checksums[i] = checksum;
    }
  }
  out.push_back(std::move(piece));
  return true;
}

std::unexpected<Error> damaged(Volume& volume, InodeNo inode) {
  Error error(Errc::kCorrupt,
              "inode " + std::to_string(inode.value()) + " has an extent that cannot be one; run fsck.weft");
  volume.report_damage(error, false);
  return fail(std::move(error));
}

// The extent over `first` or the last one before it: one look, the mapping of one moment.
Result<std::vector<MappedPiece>> find_covering(Volume& volume, InodeNo inode, FileBlock first, FileBlock end) {
  std::vector<MappedPiece> out;
  bool sound = true;
  TRY(volume.last(extent_key(inode, FileBlock{0}), extent_key(inode, first + 1),
                  [&](Key key, std::span<const std::byte> value) { sound = cut(key, value, first, end, out); }));
  if (!sound) return damaged(volume, inode);
  return out;
}

Result<std::vector<MappedPiece>> find_rest(Volume& volume, InodeNo inode, FileBlock first, FileBlock end,
                                           std::vector<MappedPiece> out) {
  bool sound = true;
  TRY(volume.scan(extent_key(inode, first + 1), extent_key(inode, end), [&](Key key, std::span<const std::byte> value) {
    sound = cut(key, value, first, end, out);
    return sound;
  }));
  if (!sound) return damaged(volume, inode);
  return out;
}

}  // namespace

Result<std::vector<MappedPiece>> find_pieces(Volume& volume, Inode& inode, FileBlock first, std::uint64_t count) {
  const FileBlock end = first + count;
  if (inode.record().data_blocks == 0) return std::vector<MappedPiece>{};

  auto out = TRY(find_covering(volume, inode.number(), first, end));
  if (count == 1 || (!out.empty() && out.back().end() == end)) return out;
  std::lock_guard guard(inode.change);
  return find_pieces_locked(volume, inode.number(), first, count);
}

Result<std::vector<MappedPiece>> find_pieces_locked(Volume& volume, InodeNo inode, FileBlock first,
                                                    std::uint64_t count) {
  const FileBlock end = first + count;

  auto out = TRY(find_covering(volume, inode, first, end));
  if (count == 1 || (!out.empty() && out.back().end() == end)) return out;
  return find_rest(volume, inode, first, end, std::move(out));
}

Status visit_extents(Volume& volume, InodeNo inode, FileRange range,
                     FunctionRef<bool(FileRange part, std::uint32_t flags)> visit) {
  bool sound = true;
  bool going_on = range.count != 0;
  const auto look = [&](Key key, std::span<const std::byte> value) {
    DiskExtent disk;
    sound = parse(value, disk);
    if (!sound) return false;
    const FileBlock from = std::max(FileBlock(key.offset()), range.first);
    const FileBlock to = std::min(FileBlock(key.offset() + disk.length), range.end());
    if (from < to) going_on = visit({from, to - from}, disk.flags);
    return going_on;
  };
  if (going_on)
    TRY(volume.last(extent_key(inode, FileBlock{0}), extent_key(inode, range.first + 1),
                    [&](Key key, std::span<const std::byte> value) { static_cast<void>(look(key, value)); }));
  if (going_on && sound) TRY(volume.scan(extent_key(inode, range.first + 1), extent_key(inode, range.end()), look));
  if (!sound) return damaged(volume, inode);
  return {};
}

std::uint64_t mapped_blocks(const std::vector<MappedPiece>& pieces) noexcept {
  std::uint64_t total = 0;
  for (const MappedPiece& piece : pieces) total += piece.blocks.count;
  return total;
}

}  // namespace weft::fs
