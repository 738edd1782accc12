#include <algorithm>
#include <cstring>
#include <shared_mutex>

#include "fs/aligned_buffer.h"
#include "fs/file.h"
#include "fs/file_data.h"
#include "fs/file_map.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kDaySeconds = 24 * 60 * 60;

// Linux's relatime: a time of access is worth noting where it would else look older than the last change, or by a day.
void note_access(FileSystemCore& fs, Inode& inode) {
  if (fs.volume->read_only()) return;
  const DiskInode record = inode.record();
  if ((record.flags & kInodeNoAtime) != 0) return;
  const Timespec accessed = from_disk(record.accessed);
  const Timespec now = fs.now();
  if (accessed > from_disk(record.modified) && accessed > from_disk(record.changed) &&
      now.seconds - accessed.seconds < static_cast<std::int64_t>(kDaySeconds)) {
    return;
  }
  inode.touch_accessed(now);
}

}  // namespace

Result<std::size_t> read_file(FileSystemCore& fs, Inode& inode, std::uint64_t offset, std::span<std::byte> into) {
  std::shared_lock guard(inode.content);
  const DiskInode record = inode.record();
  TRY(require_regular(record));
  const std::uint64_t size = record.size_bytes;
  if (offset >= size || into.empty()) return 0;
  const std::size_t total = static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size - offset));
  const bool direct = offset % kBlockBytes == 0 && direct_io_fits(fs.volume->device(), into.data());
  std::size_t done = 0;
  while (done < total) {
    const std::uint64_t at = offset + done;
    const std::size_t room = std::min(into.size() - done, kWriteStepBytes);
    // Past the end of the file come zeros, so the last block may be read whole where there is room.
    const std::size_t whole = std::min<std::size_t>(round_up(total - done, kBlockBytes), round_down(room, kBlockBytes));
    if (direct && whole > 0) {
      TRY(read_blocks(*fs.volume, inode, FileBlock(at / kBlockBytes), into.subspan(done, whole)));
      done += whole;
      continue;
    }
    const std::uint64_t first = round_down(at, kBlockBytes);
    const std::size_t step = std::min(total - done, room);
    AlignedBuffer bounce(round_up(at + step, kBlockBytes) - first);
    TRY(read_blocks(*fs.volume, inode, FileBlock(first / kBlockBytes), bounce.bytes()));
    std::memcpy(into.data() + done, bounce.bytes().data() + (at - first), step);
    done += step;
  }
  note_access(fs, inode);
  return total;
}

Result<std::uint64_t> seek_file(FileSystemCore& fs, Inode& inode, std::uint64_t offset, bool for_data) {
  std::shared_lock guard(inode.content);
  const DiskInode record = inode.record();
  TRY(require_regular(record));
  const std::uint64_t size = record.size_bytes;
  if (offset >= size) return fail(Errc::kNoSuchOffset);
  constexpr std::uint64_t kBlocksPerLook = 1 << 16;
  const FileBlock end(divide_up(size, kBlockBytes));
  for (FileBlock at(offset / kBlockBytes); at < end;) {
    FileBlock next = at;  // where data would have to go on for there to be no hole
    const FileBlock look_end = at + std::min(kBlocksPerLook, end - at);
    const auto pieces = TRY(find_pieces(*fs.volume, inode, at, look_end - at));
    for (const MappedPiece& piece : pieces) {
      if (piece.unwritten()) continue;
      if (for_data) return std::max(offset, piece.first.value() * kBlockBytes);
      if (piece.first != next) break;
      next = piece.end();
    }
    if (!for_data && next != look_end) return std::max(offset, next.value() * kBlockBytes);
    at = look_end;
    if (pieces.empty() || pieces.back().end() != look_end) {
      // A hole goes on here, perhaps for an exbibyte: to the next extent in one step.
      at = end;
      TRY(fs.volume->scan(extent_key(inode.number(), look_end), extent_key(inode.number(), end),
                          [&](Key key, std::span<const std::byte>) {
                            at = FileBlock(key.offset());
                            return false;
                          }));
    }
  }
  if (for_data) return fail(Errc::kNoSuchOffset);
  return size;
}

}  // namespace weft::fs
