#include <algorithm>
#include <mutex>
#include <utility>
#include <vector>

#include "fs/file.h"
#include "fs/file_map.h"
#include "fs/file_truncate.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

constexpr std::uint64_t kBlocksPerStep = 1 << 15;
constexpr std::uint32_t kRunsPerStep = 16;

// The first holes of `range`, as many as a step fills; `end` is where the look for them ended.
struct Holes {
  std::vector<FileRange> holes;
  FileBlock end;
};

Result<Holes> first_holes(Volume& volume, InodeNo inode, FileRange range) {
  Holes found{.holes = {}, .end = range.end()};
  FileBlock at = range.first;
  TRY(visit_extents(volume, inode, range, [&](FileRange part, std::uint32_t) {
    if (part.first > at) found.holes.push_back({at, part.first - at});
    at = part.end();
    if (found.holes.size() < kRunsPerStep) return true;
    found.end = at;
    return false;
  }));
  if (found.end == range.end() && at < found.end) found.holes.push_back({at, found.end - at});
  return found;
}

std::uint64_t blocks_of(const std::vector<FileRange>& ranges) {
  std::uint64_t total = 0;
  for (const FileRange& range : ranges) total += range.count;
  return total;
}

// Blocks for the first holes of `range`, in one transaction. Returns where it stopped.
Result<FileBlock> reserve_step(FileSystemCore& fs, Inode& inode, FileRange range) {
  const auto [holes, end] = TRY(first_holes(*fs.volume, inode.number(), range));
  if (holes.empty()) return end;
  Transaction transaction =
      TRY(fs.volume->begin(Intent::kAllocate, inode.number(),
                           {.changes = kRunsPerStep + 2, .value_bytes = 2048, .data_blocks = blocks_of(holes)}));
  inode.maybe_unwritten = true;
  std::uint64_t added = 0;
  std::uint32_t runs = 0;
  FileBlock at = range.first;
  BlockNo goal = inode.write_hint().block;
  for (const FileRange& hole : holes) {
    for (at = hole.first; at < hole.first + hole.count && runs < kRunsPerStep; ++runs) {
      const BlockRange got = TRY(transaction.allocate(goal, hole.first + hole.count - at));
      transaction.map(inode.number(), at, got, kExtentUnwritten, {}, false);
      added += got.count;
      at = at + got.count;
      goal = got.end();
    }
    if (runs == kRunsPerStep) break;
  }
  if (runs < kRunsPerStep) at = end;
  ChangeGuard guard{&inode};
  DiskInode record = inode.record();
  record.data_blocks = record.data_blocks + added;
  mark_data_changed(fs, record);
  put_inode(transaction, inode, record);
  inode.publish(record, TRY(fs.volume->commit(std::move(transaction))), true);
  return at;
}

Status reserve(FileSystemCore& fs, Inode& inode, std::uint64_t offset, std::uint64_t end_bytes) {
  const FileBlock end(divide_up(end_bytes, kBlockBytes));
  // Refused at once rather than half-way, unless somebody takes the space meanwhile.
  std::uint64_t wanted = 0;
  for (FileBlock at(offset / kBlockBytes); at < end;) {
    const std::uint64_t count = std::min(kBlocksPerStep, end - at);
    wanted += count;
    TRY(visit_extents(*fs.volume, inode.number(), {at, count}, [&](FileRange part, std::uint32_t) {
      wanted -= part.count;
      return true;
    }));
    if (wanted > fs.volume->space().available_blocks) return fail(Errc::kNoSpace);
    at = at + count;
  }
  for (FileBlock at(offset / kBlockBytes); at < end;) {
    at = TRY(reserve_step(fs, inode, {at, std::min(kBlocksPerStep, end - at)}));
  }
  return {};
}

Status set_size(FileSystemCore& fs, Inode& inode, std::uint64_t end_bytes) {
  if (end_bytes <= inode.record().size_bytes) return {};
  return truncate_file(fs, inode, end_bytes, [&](DiskInode& record) { mark_data_changed(fs, record); });
}

}  // namespace

Status allocate_file(FileSystemCore& fs, Inode& inode, AllocateMode mode, std::uint64_t offset,
                     std::uint64_t length_bytes) {
  std::unique_lock guard(inode.content);
  const DiskInode record = inode.record();
  TRY(require_regular(record));
  if (length_bytes == 0) return fail(Errc::kInvalid);
  if (offset > kMaxFileBytes || length_bytes > kMaxFileBytes - offset) return fail(Errc::kFileTooBig);
  const bool reserving = mode == AllocateMode::kReserve || mode == AllocateMode::kReserveKeepSize;
  TRY(refuse_flags(record, reserving ? kInodeImmutable : kInodeImmutable | kInodeAppendOnly));
  TRY(finish_truncate(fs, inode));
  const std::uint64_t end = offset + length_bytes;
  if (!reserving) {
    TRY(punch_file(fs, inode, offset, end, [&](DiskInode& changed) { mark_data_changed(fs, changed); }));
  }
  if (mode != AllocateMode::kPunchHole) TRY(reserve(fs, inode, offset, end));
  if (mode == AllocateMode::kReserve || mode == AllocateMode::kZeroRange) TRY(set_size(fs, inode, end));
  return settle(fs, inode.record(), kInodeSync, inode.last_change());
}

}  // namespace weft::fs
