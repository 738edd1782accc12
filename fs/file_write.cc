#include <algorithm>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <utility>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/data_in_flight.h"
#include "fs/file.h"
#include "fs/file_data.h"
#include "fs/file_map.h"
#include "fs/file_truncate.h"
#include "kernel/planted_bug.h"
#include "kernel/units.h"

namespace weft::fs {
namespace {

constexpr std::uint32_t kRunsPerStep = 8;  // places that one transaction's data may go to

// Where a part of the data goes.
struct Run {
  FileBlock first;
  BlockRange blocks;
  bool remap = true;  // false: it is mapped there already (in place)
};

struct Step {
  FileBlock first;
  std::span<const std::byte> data;  // whole blocks, memory that fits the device
  std::uint64_t end_bytes = 0;      // of the file, if it ends before
  bool kill_set_id = false;
  bool behind = false;                  // the data may follow the commit ...
  std::function<void()> in_force = {};  // ... between the two this is called, if all of the step is in force
};

// The data of a step in flight: counted at the volume, and at the inode so that its readers know.
class InFlight {
 public:
  InFlight(FileSystemCore& fs, Inode& inode) : inode_(inode), write_(fs.volume->data_in_flight()) {
    ++inode_.data_in_flight;
  }
  ~InFlight() { --inode_.data_in_flight; }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;

 private:
  Inode& inode_;
  DataInFlight::Write write_;
};

bool in_place(const DiskInode& record) { return (record.flags & kInodeNoCow) != 0; }

// Close behind what was written last, or behind the block before.
Result<BlockNo> placement_goal(FileSystemCore& fs, Inode& inode, FileBlock first) {
  const Inode::WriteHint hint = inode.write_hint();
  if (hint.block != BlockNo{} || first == FileBlock{0}) return hint.block;
  const auto before = TRY(find_pieces(*fs.volume, inode, FileBlock(first.value() - 1), 1));
  return before.empty() ? BlockNo{} : before[0].blocks.end();
}

// Blocks of the step that have a place which is to be written there: reserved ones, and any of a file without copy-on-write.
Result<std::vector<MappedPiece>> fixed_places(FileSystemCore& fs, Inode& inode, FileBlock first, std::uint64_t count) {
  if (!in_place(inode.record()) && !inode.maybe_unwritten) return std::vector<MappedPiece>{};
  auto pieces = TRY(find_pieces(*fs.volume, inode, first, count));
  std::erase_if(pieces, [](const MappedPiece& piece) { return piece.flags == 0; });
  return pieces;
}

// Does a writer of these blocks have to be alone? When it writes to a place where something else might.
Result<bool> needs_exclusive(FileSystemCore& fs, Inode& inode, FileBlock first, std::uint64_t count) {
  const bool over = in_place(inode.record());
  if (!over && !inode.maybe_unwritten) return false;
  const auto fixed = TRY(fixed_places(fs, inode, first, count));
  const bool reserved =
      std::any_of(fixed.begin(), fixed.end(), [](const MappedPiece& piece) { return piece.unwritten(); });
  return reserved || (over && mapped_blocks(fixed) != count);
}

// Splits the step into runs: fixed places where there are, fresh blocks for the rest. May stop short after kRunsPerStep.
Result<std::vector<Run>> place(Transaction& transaction, const std::vector<MappedPiece>& fixed, FileBlock first,
                               std::uint64_t count, BlockNo goal) {
  std::vector<Run> runs;
  const FileBlock end = first + count;
  auto next_fixed = fixed.begin();
  for (FileBlock at = first; at < end && runs.size() < kRunsPerStep;) {
    if (next_fixed != fixed.end() && next_fixed->first == at) {
      runs.push_back({.first = at, .blocks = next_fixed->blocks, .remap = next_fixed->unwritten()});
      ++next_fixed;
    } else {
      const FileBlock stop = next_fixed != fixed.end() ? next_fixed->first : end;
      runs.push_back({ .first = at, .blocks = TRY(transaction.allocate(goal, stop - at)) });
    }
    goal = runs.back().blocks.end();
    at = at + runs.back().blocks.count;
  }
  return runs;
}

// Makes the runs the file's, in place of what was there.
Result<Lsn> commit_step(FileSystemCore& fs, Inode& inode, const Step& step, Transaction& transaction,
                        std::span<const Run> runs, std::span<const std::uint32_t> checksums) {
  const bool over = in_place(inode.record());
  const std::uint64_t stored = runs.back().first + runs.back().blocks.count - step.first;
  const ChangeGuard guard{&inode};
  DiskInode record = inode.record();
  const std::uint64_t old_size = record.size_bytes;
  std::uint64_t mapped = 0;
  if (step.first.value() * kBlockBytes < old_size || inode.maybe_unwritten) {
    if (record.data_blocks > 0)
      mapped = mapped_blocks(TRY(find_pieces_locked(*fs.volume, inode.number(), step.first, stored)));
  }
  for (const Run& run : runs) {
    if (!run.remap) continue;
    const auto sums =
        over ? std::span<const std::uint32_t>{} : checksums.subspan(run.first - step.first, run.blocks.count);
    transaction.map(inode.number(), run.first, run.blocks, over ? std::uint32_t{kExtentNoChecksum} : 0, sums, !over);
  }
  record.data_blocks = record.data_blocks + stored - mapped;
  record.size_bytes = std::max(old_size, std::min(step.end_bytes, (step.first + stored).value() * kBlockBytes));
  mark_data_changed(fs, record);
  if (step.kill_set_id) clear_set_id(record);
  put_inode(transaction, inode, record);
  const Lsn lsn = TRY(fs.volume->commit(std::move(transaction)));
  inode.publish(record, lsn, true);
  return lsn;
}

// Writes the step, or the first blocks of it: how many.
Result<std::uint64_t> write_step(FileSystemCore& fs, Inode& inode, const Step& step, Lsn& lsn) {
  const std::uint64_t count = step.data.size() / kBlockBytes;
  const bool over = in_place(inode.record());
  const auto fixed = TRY(fixed_places(fs, inode, step.first, count));
  const std::uint64_t fresh = count - mapped_blocks(fixed);
  Transaction transaction = TRY(fs.volume->begin(
      Intent::kWrite, inode.number(),
      {.changes =
           static_cast<std::uint32_t>(2 + std::min<std::uint64_t>(kRunsPerStep, count) + count / kMaxChecksummedBlocks),
       .value_bytes =
           static_cast<std::uint32_t>(sizeof(DiskInode) + (kRunsPerStep + 4) * sizeof(DiskExtent) + count * 4),
       .data_blocks = fresh}));
  const BlockNo goal = TRY(placement_goal(fs, inode, step.first));
  const auto runs = TRY(place(transaction, fixed, step.first, count, goal));

  const std::uint64_t stored = runs.back().first + runs.back().blocks.count - step.first;
  const auto data = step.data.first(stored * kBlockBytes);
  const auto checksums = over ? std::vector<std::uint32_t>{} : checksum_blocks(data);
  std::vector<BlockRange> places;
  places.reserve(runs.size());
  bool remaps = false;
  for (const Run& run : runs) {
    places.push_back(run.blocks);
    remaps = remaps || run.remap;
  }
  std::optional<InFlight> in_flight;
  if (step.behind && !over) {
    if (!planted(Bug::kDataAfterRecord)) in_flight.emplace(fs, inode);
  } else {
    TRY(write_runs(fs.volume->device(), places, data));
  }
  // Without checksums nothing can tell on replay whether the data is there: it must be, before it is mapped.
  if (over && remaps && !planted(Bug::kNoCowNotFlushed)) TRY(fs.volume->device().flush());

  lsn = TRY(commit_step(fs, inode, step, transaction, runs, checksums));
  if (planted(Bug::kDataAfterRecord) && step.behind && !over) {  // nobody waits for what is not in flight
    TRY(fs.volume->make_durable(lsn));
    TRY(write_runs(fs.volume->device(), places, data));
  }
  inode.set_write_hint({.file_block = step.first + stored, .block = runs.back().blocks.end()});
  if (!in_flight) return stored;
  if (stored == count && step.in_force) step.in_force();
  if (Status written = write_runs(fs.volume->device(), places, data); !written) {
    Error error = std::move(written).error().with("data that a file has already is lost, the volume is read-only");
    fs.volume->fail_for_good(error);
    return fail(std::move(error));
  }
  return stored;
}

// The step's bytes as whole blocks: those around them read where the file has any.
Status assemble(FileSystemCore& fs, Inode& inode, std::uint64_t offset, std::span<const std::byte> from,
                AlignedBuffer& blocks) {
  const std::uint64_t size = inode.record().size_bytes;
  const std::uint64_t start = round_down(offset, kBlockBytes);
  const std::uint64_t end = offset + from.size();
  const FileBlock head(start / kBlockBytes);
  const FileBlock tail((end - 1) / kBlockBytes);
  const bool read_head = offset != start && start < size;
  if (read_head) TRY(read_blocks(*fs.volume, inode, head, blocks.block(0)));
  if (end % kBlockBytes != 0 && end < size && !(read_head && head == tail)) {
    TRY(read_blocks(*fs.volume, inode, tail, blocks.block(tail - head)));
  }
  std::memcpy(blocks.bytes().data() + (offset - start), from.data(), from.size());
  return {};
}

// All of it in steps; what was written counts in `done`, also on failure.
Status write_locked(FileSystemCore& fs, Inode& inode, std::uint64_t offset, std::span<const std::byte> from,
                    bool kill_set_id, const WriteAccepted& accepted, std::size_t& done, Lsn& lsn) {
  const bool behind =
      accepted != nullptr && (inode.record().flags & kInodeSync) == 0 && !fs.volume->data_in_flight().crowded();
  std::size_t step_bytes = planted(Bug::kWriteInBlocks) ? kBlockBytes : kWriteStepBytes;
  while (done < from.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t start = round_down(at, kBlockBytes);
    const std::size_t bytes = std::min<std::size_t>(from.size() - done, start + step_bytes - at);
    const auto part = from.subspan(done, bytes);
    Step step{.first = FileBlock(start / kBlockBytes),
              .data = part,
              .end_bytes = at + bytes,
              .kill_set_id = kill_set_id,
              .behind = behind};
    if (behind && done + bytes == from.size()) step.in_force = [&] { accepted(from.size()); };
    AlignedBuffer bounce;
    if (at != start || bytes % kBlockBytes != 0 || !direct_io_fits(fs.volume->device(), part.data())) {
      bounce = AlignedBuffer(at + bytes - start);
      TRY(assemble(fs, inode, at, part, bounce));
      step.data = bounce.bytes();
    }
    const auto result = write_step(fs, inode, step, lsn);
    if (!result && result.error() == Errc::kNoSpace && step.data.size() > kBlockBytes) {
      step_bytes = std::max<std::size_t>(round_down(step.data.size() / 4, kBlockBytes),
                                         kBlockBytes);  // what is left may do for less
      continue;
    }
    const std::uint64_t stored = TRY(result);
    done += std::min(bytes, static_cast<std::size_t>(start + stored * kBlockBytes - at));
  }
  return {};
}

}  // namespace

Result<std::size_t> write_file(FileSystemCore& fs, Inode& inode, std::uint64_t offset, std::span<const std::byte> from,
                               bool kill_set_id, bool append, const WriteAccepted& accepted) {
  const auto check = [&]() -> Status {
    const DiskInode record = inode.record();
    TRY(require_regular(record));
    TRY(refuse_flags(record, kInodeImmutable));
    if (append) offset = record.size_bytes;
    // The page cache writes whole pages back: the one that the end lies in counts as appended.
    if ((record.flags & kInodeAppendOnly) != 0 && offset < round_down(record.size_bytes, kBlockBytes))
      return fail(Errc::kNotPermitted);
    if (offset > kMaxFileBytes || from.size() > kMaxFileBytes - offset) return fail(Errc::kFileTooBig);
    return {};
  };
  std::size_t done = 0;
  Lsn lsn;
  Status status;
  bool exclusive = append || offset % kBlockBytes != 0 || from.size() % kBlockBytes != 0 || inode.truncate_pending;
  if (!exclusive) {
    std::shared_lock guard(inode.content);
    TRY(check());
    if (from.empty()) return 0;
    exclusive = TRY(needs_exclusive(fs, inode, FileBlock(offset / kBlockBytes), from.size() / kBlockBytes));
    if (!exclusive) status = write_locked(fs, inode, offset, from, kill_set_id, accepted, done, lsn);
  }
  if (exclusive) {
    std::unique_lock guard(inode.content);
    TRY(check());
    TRY(finish_truncate(fs, inode));
    status = write_locked(fs, inode, offset, from, kill_set_id, accepted, done, lsn);
  }
  if (!status && done == 0) return fail(std::move(status).error());
  TRY(settle(fs, inode.record(), kInodeSync, lsn));
  return done;
}

}  // namespace weft::fs
