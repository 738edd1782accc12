#include <algorithm>
#include <cstring>
#include <optional>
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

// The first block that was written; nothing where there is none. What lies before it may be a hole of an exbibyte.
Result<std::optional<FileBlock>> next_data(FileSystemCore& fs, Inode& inode, FileRange range) {
  std::optional<FileBlock> found;
  TRY(visit_extents(*fs.volume, inode.number(), range, [&](FileRange part, std::uint32_t flags) {
    if ((flags & kExtentUnwritten) == 0) found = part.first;
    return !found;
  }));
  return found;
}

// The first block that was not written, or the one behind all. In steps, since data may go on for a million extents.
Result<std::optional<FileBlock>> next_hole(FileSystemCore& fs, Inode& inode, FileRange range) {
  constexpr std::uint64_t kBlocksPerLook = 1 << 16;
  FileBlock at = range.first;
  while (at < range.end()) {
    const FileRange look{at, std::min(kBlocksPerLook, range.end() - at)};
    TRY(visit_extents(*fs.volume, inode.number(), look, [&](FileRange part, std::uint32_t flags) {
      if (part.first != at || (flags & kExtentUnwritten) != 0) return false;
      at = part.end();
      return true;
    }));
    if (at != look.end()) break;
  }
  return at;
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
  const FileRange rest{FileBlock(offset / kBlockBytes), divide_up(size, kBlockBytes) - offset / kBlockBytes};
  const auto at = TRY(for_data ? next_data(fs, inode, rest) : next_hole(fs, inode, rest));
  if (!at) return fail(Errc::kNoSuchOffset);
  // Behind the last block, of which the file may have a part only, is a hole.
  return std::min(std::max(offset, at->value() * kBlockBytes), size);
}

}  // namespace weft::fs
