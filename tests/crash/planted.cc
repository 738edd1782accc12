#include "tests/crash/planted.h"

#include <algorithm>
#include <cstring>

#include "fs/format.h"
#include "kernel/bytes.h"
#include "kernel/planted_bug.h"

namespace weft::crash {
namespace {
const PlantedBug* current = nullptr;
}

const std::vector<PlantedBug>& planted_bugs() {
  static const std::vector<PlantedBug> bugs = {
      {"no-flush-of-log", "the flush after a record of the log is left out", DiskBug::kNoFlushOfLog},
      {"no-flush-of-nodes", "the flush before a checkpoint's superblock is left out", DiskBug::kNoFlushOfNodes},
      {"no-flush-of-superblock", "the flush after a checkpoint's superblock is left out",
       DiskBug::kNoFlushOfSuperblock},
      {"no-flush-at-all", "all flushes are left out", DiskBug::kNoFlushAtAll},
      {"data-after-flush", "data is written after the flush that should cover it", DiskBug::kDataAfterFlush},
      {"record-after-flush", "a record is written after the flush that should cover it", DiskBug::kRecordAfterFlush},
      {"superblock-before-nodes", "a checkpoint's nodes reach the disk after its superblock",
       DiskBug::kSuperblockBeforeNodes},
#ifdef WEFT_PLANTED_BUGS
#define WEFT_PLANTED_BUG_ENTRY(name, text, what) {text, what, DiskBug::kNone, static_cast<int>(Bug::name)},
      WEFT_PLANTED_BUGS_LIST(WEFT_PLANTED_BUG_ENTRY)
#undef WEFT_PLANTED_BUG_ENTRY
#endif
  };
  return bugs;
}

void plant(const PlantedBug* bug) {
  current = bug;
#ifdef WEFT_PLANTED_BUGS
  planted_now = static_cast<Bug>(bug != nullptr ? bug->code : 0);
#endif
}

const PlantedBug* planted_bug() noexcept { return current; }

LyingDisk::Place LyingDisk::place_of(const BlockIo& io) const {
  const fs::BlockNo block(io.offset_bytes / fs::kBlockBytes);
  for (std::uint32_t slot = 0; slot < fs::kSuperblockSlots; ++slot) {
    if (layout_.superblock_slot(slot) == block) return Place::kSuperblock;
  }
  if (block >= layout_.log_start && block < layout_.log_start + layout_.log_blocks) return Place::kLog;
  if (layout_.is_fixed(block)) return Place::kTables;
  le32 magic{};
  if (!io.vectors.empty() && io.vectors[0].iov_len >= sizeof magic)
    std::memcpy(&magic, io.vectors[0].iov_base, sizeof magic);
  return magic == fs::kNodeMagic ? Place::kNode : Place::kData;
}

bool LyingDisk::kept_back(Place place) const {
  switch (bug_) {
    case DiskBug::kDataAfterFlush: return place == Place::kData;
    case DiskBug::kRecordAfterFlush: return place == Place::kLog;
    case DiskBug::kSuperblockBeforeNodes: return place == Place::kNode || place == Place::kTables;
    default: return false;
  }
}

Status LyingDisk::let_go() {
  std::vector<Kept> kept;
  std::swap(kept, kept_);
  for (const Kept& write : kept) TRY(under_.write(write.offset_bytes, write.bytes.bytes().first(write.length_bytes)));
  return {};
}

Status LyingDisk::run_one(const BlockIo& io) {
  if (io.op == BlockOp::kFlush) {
    switch (bug_) {
      case DiskBug::kNoFlushAtAll: return {};
      case DiskBug::kNoFlushOfLog:
        if (last_ == Place::kLog) return {};
        break;
      case DiskBug::kNoFlushOfNodes:
        if (last_ == Place::kNode || last_ == Place::kTables) return {};
        break;
      case DiskBug::kNoFlushOfSuperblock:
        if (last_ == Place::kSuperblock) return {};
        break;
      case DiskBug::kSuperblockBeforeNodes:
        // The flush after the superblock lets go of them, the one before it does not come.
        if (last_ != Place::kSuperblock) return last_ == Place::kLog ? under_.run(std::span(&io, 1)) : Status{};
        break;
      default: break;
    }
    TRY(under_.run(std::span(&io, 1)));
    return let_go();
  }
  if (io.op == BlockOp::kWrite) {
    last_ = place_of(io);
    if (kept_back(last_)) {
      Kept kept{.offset_bytes = io.offset_bytes,
                .length_bytes = io.length_bytes,
                .bytes = fs::AlignedBuffer(io.length_bytes)};
      std::span<std::byte> into = kept.bytes.bytes().first(io.length_bytes);
      for (const iovec& vector : io.vectors) {
        std::memcpy(into.data(), vector.iov_base, vector.iov_len);
        into = into.subspan(vector.iov_len);
      }
      kept_.push_back(std::move(kept));
      return {};
    }
  }
  if (io.op == BlockOp::kRead) {
    const bool touches = std::ranges::any_of(kept_, [&](const Kept& kept) {
      return kept.offset_bytes < io.offset_bytes + io.length_bytes &&
             io.offset_bytes < kept.offset_bytes + kept.length_bytes;
    });
    if (touches) TRY(let_go());
  }
  return under_.run(std::span(&io, 1));
}

Status LyingDisk::run(std::span<const BlockIo> requests) {
  if (!lies_) return under_.run(requests);
  for (const BlockIo& io : requests) TRY(run_one(io));
  return {};
}

}  // namespace weft::crash
