#include "fs/file_truncate.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/file_data.h"
#include "kernel/bytes.h"
#include "kernel/planted_bug.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

// One change may touch three leaves; an unmap of so many extents is counted as four changes, for the dozen leaves that they may
// lie in. With the inode, a mark and two edges that makes eight, which even a full volume has room for.
constexpr std::uint64_t kExtentsPerStep = 24;
constexpr std::uint32_t kUnmapChanges = 4;

// The first extents of a range: how many there are (one more than kExtentsPerStep says "many"), how many of their blocks
// lie in the range, and where the last one that a step may take ends.
struct Census {
  std::uint64_t extents = 0;
  std::uint64_t blocks = 0;
  FileBlock end;
  [[nodiscard]] bool many() const noexcept { return extents > kExtentsPerStep; }
};

Result<Census> take_census(Volume& volume, InodeNo inode, FileRange range) {
  Census census;
  const FileBlock end = range.first + range.count;
  const auto visit = [&](Key key, std::span<const std::byte> value) {
    DiskExtent disk;
    if (value.size() < sizeof disk) return true;
    std::memcpy(&disk, value.data(), sizeof disk);
    const FileBlock from = std::max(FileBlock(key.offset()), range.first);
    const FileBlock to = std::min(FileBlock(key.offset() + disk.length), end);
    if (from >= to) return true;
    if (++census.extents > kExtentsPerStep) return false;
    census.blocks += to - from;
    census.end = to;
    return true;
  };
  if (range.count == 0) return census;
  TRY(volume.last(extent_key(inode, FileBlock{0}), extent_key(inode, range.first + 1),
                  [&](Key key, std::span<const std::byte> value) { static_cast<void>(visit(key, value)); }));
  TRY(volume.scan(extent_key(inode, range.first + 1), extent_key(inode, end), visit));
  return census;
}

// A block of which a part has become zeros, to be written anew.
struct Edge {
  FileBlock file_block;
  AlignedBuffer data;
  std::optional<BlockNo> in_place;  // where it lies, for a file that is not copied on write
};

Status add_edge(FileSystemCore& fs, Inode& inode, FileBlock at, std::size_t from, std::size_t to,
                std::vector<Edge>& edges) {
  const auto pieces = TRY(find_pieces(*fs.volume, inode, at, 1));
  if (pieces.empty() || pieces[0].unwritten()) return {};
  Edge edge{.file_block = at, .data = AlignedBuffer(kBlockBytes), .in_place = std::nullopt};
  TRY(read_blocks(*fs.volume, inode, at, edge.data.bytes()));
  std::memset(edge.data.bytes().data() + from, 0, to - from);
  if ((pieces[0].flags & kExtentNoChecksum) != 0) edge.in_place = pieces[0].blocks.start;
  edges.push_back(std::move(edge));
  return {};
}

// What one transaction changes: edges written anew, blocks unmapped, the record.
struct Edit {
  Intent intent;
  std::vector<Edge> edges;
  FileRange unmap;
  std::uint64_t unmapped_blocks = 0;
  std::uint64_t unmapped_extents = 0;
  bool mark = false;  // put the kOrphan key
};

Status apply(FileSystemCore& fs, Inode& inode, Edit edit, FunctionRef<void(DiskInode&)> change) {
  BlockDevice& device = fs.volume->device();
  Transaction transaction = TRY(fs.volume->begin(
      edit.intent, inode.number(),
      {.changes = 4 + kUnmapChanges, .value_bytes = 512, .data_blocks = edit.edges.size(), .frees_space = true}));
  bool flush = false;
  for (Edge& edge : edit.edges) {
    BlockRange to{edge.in_place.value_or(BlockNo{}), 1};
    if (!edge.in_place) {
      to = TRY(transaction.allocate(inode.write_hint().block, 1));
      transaction.map(inode.number(), edge.file_block, to, 0, checksum_blocks(edge.data.bytes()), true);
    }
    flush = flush || edge.in_place;
    TRY(write_runs(device, std::span(&to, 1), edge.data.bytes()));
  }
  if (flush) TRY(device.flush());
  if (edit.unmapped_extents > 0) transaction.unmap(inode.number(), edit.unmap.first, edit.unmap.count);
  if (edit.mark) transaction.put(orphan_key(inode.number()), {});
  ChangeGuard guard{&inode};
  DiskInode record = inode.record();
  record.data_blocks = record.data_blocks - edit.unmapped_blocks;
  change(record);
  put_inode(transaction, inode, record);
  inode.publish(record, TRY(fs.volume->commit(std::move(transaction))), true);
  return {};
}

}  // namespace

Result<Unmapped> unmap_step(Volume& volume, InodeNo number, Inode* live, FileRange range, UnmapLast last) {
  const Census census = TRY(take_census(volume, number, range));
  if (census.extents == 0 || (last == UnmapLast::kLeave && !census.many())) return Unmapped::kAll;
  Transaction transaction = TRY(
      volume.begin(Intent::kReclaim, number, {.changes = 1 + kUnmapChanges, .value_bytes = 256, .frees_space = true}));
  transaction.unmap(number, range.first, census.end - range.first);
  const Key inode_key(number, KeyKind::kInode, 0);
  DiskInode record;
  if (live != nullptr) {
    ChangeGuard guard{live};
    record = live->record();
    record.data_blocks = record.data_blocks - census.blocks;
    transaction.put(inode_key, as_bytes_of(record));
    live->publish(record, TRY(volume.commit(std::move(transaction))), true);
  } else {
    bool sound = false;
    TRY(volume.get(inode_key, [&](std::span<const std::byte> value) {
      sound = value.size() == sizeof record;
      if (sound) std::memcpy(&record, value.data(), sizeof record);
    }));
    if (sound) {
      record.data_blocks = record.data_blocks - std::min<std::uint64_t>(census.blocks, record.data_blocks);
      transaction.put(inode_key, as_bytes_of(record));
    }
    TRY(volume.commit(std::move(transaction)));
  }
  return census.many() ? Unmapped::kSome : Unmapped::kAll;
}

Status truncate_file(FileSystemCore& fs, Inode& inode, std::uint64_t size_bytes, FunctionRef<void(DiskInode&)> edit) {
  if (size_bytes > kMaxFileBytes) return fail(Errc::kFileTooBig);
  TRY(finish_truncate(fs, inode));
  const std::uint64_t old_size = inode.record().size_bytes;
  Edit steps{.intent = Intent::kTruncate, .edges = {}, .unmap = {}};
  bool many = false;
  if (size_bytes <= old_size) {
    const FileBlock keep(divide_up(size_bytes, kBlockBytes));
    if (size_bytes % kBlockBytes != 0 && size_bytes < old_size) {
      TRY(add_edge(fs, inode, FileBlock(size_bytes / kBlockBytes), size_bytes % kBlockBytes, kBlockBytes, steps.edges));
    }
    steps.unmap = {keep, kFileBlockEnd - keep.value()};
    if (inode.record().data_blocks > 0) {
      const Census census = TRY(take_census(*fs.volume, inode.number(), steps.unmap));
      many = census.many();
      steps.unmapped_extents = many ? 0 : census.extents;
      steps.unmapped_blocks = many ? 0 : census.blocks;
    }
  }
  // An inode without links is an orphan already, and stays one.
  steps.mark = many && inode.record().links > 0 && !planted(Bug::kTruncateWithoutOrphan);
  TRY(apply(fs, inode, std::move(steps), [&](DiskInode& record) {
    record.size_bytes = size_bytes;
    edit(record);
  }));
  if (!many) return {};
  inode.truncate_pending = true;
  return finish_truncate(fs, inode);
}

Status finish_truncate(FileSystemCore& fs, Inode& inode) {
  if (!inode.truncate_pending) return {};
  const FileBlock keep(divide_up(inode.record().size_bytes, kBlockBytes));
  while (TRY(unmap_step(*fs.volume, inode.number(), &inode, {keep, kFileBlockEnd - keep.value()})) == Unmapped::kSome) {
  }
  Transaction transaction =
      TRY(fs.volume->begin(Intent::kTruncate, inode.number(), {.changes = 1, .value_bytes = 0, .frees_space = true}));
  {
    // Unlinked meanwhile: the key now says so, and is reclaiming's.
    ChangeGuard guard{&inode};
    if (inode.record().links > 0 && !planted(Bug::kTruncateWithoutOrphan)) {
      transaction.erase(orphan_key(inode.number()));
      TRY(fs.volume->commit(std::move(transaction)));
    }
  }
  inode.truncate_pending = false;
  return {};
}

Status punch_file(FileSystemCore& fs, Inode& inode, std::uint64_t from, std::uint64_t to,
                  FunctionRef<void(DiskInode&)> edit) {
  TRY(finish_truncate(fs, inode));
  const FileBlock first(divide_up(from, kBlockBytes));
  const FileBlock last(to / kBlockBytes);
  Edit steps{.intent = Intent::kPunch, .edges = {}, .unmap = {}};
  if (first > last) {  // within one block
    TRY(add_edge(fs, inode, last, from % kBlockBytes, to % kBlockBytes, steps.edges));
  } else {
    if (from % kBlockBytes != 0)
      TRY(add_edge(fs, inode, FileBlock(from / kBlockBytes), from % kBlockBytes, kBlockBytes, steps.edges));
    if (to % kBlockBytes != 0) TRY(add_edge(fs, inode, last, 0, to % kBlockBytes, steps.edges));
    steps.unmap = {first, last - first};
    Census census = TRY(take_census(*fs.volume, inode.number(), steps.unmap));
    while (census.many()) {
      TRY(unmap_step(*fs.volume, inode.number(), &inode, steps.unmap));
      census = TRY(take_census(*fs.volume, inode.number(), steps.unmap));
    }
    steps.unmapped_extents = census.extents;
    steps.unmapped_blocks = census.blocks;
  }
  return apply(fs, inode, std::move(steps), edit);
}

}  // namespace weft::fs
