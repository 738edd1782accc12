// tests/crash/planted.h - bugs planted to see whether the enumeration finds them: a search that finds nothing proves nothing.
//
// Two kinds. A disk that lies between file system and recorder needs no change of the product and works in every build.
// The others are marked in the source as planted(Bug::k...), listed in kernel/planted_bug.h, and exist only in the flavour
// `planted`: `make crash-planted`.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fs/aligned_buffer.h"
#include "fs/layout.h"
#include "kernel/block_device.h"

namespace weft::crash {

enum class DiskBug : std::uint8_t {
  kNone,
  kNoFlushOfLog,         // the flush after a record of the log
  kNoFlushOfNodes,       // the flush between a checkpoint's nodes and its superblock
  kNoFlushOfSuperblock,  // the flush after a checkpoint's superblock
  kNoFlushAtAll,
  kDataAfterFlush,        // data of files is written only after the flush that should cover it
  kRecordAfterFlush,      // a record of the log likewise
  kSuperblockBeforeNodes  // what a checkpoint writes goes out after its superblock
};

// What can be planted: in this build, of both kinds.
struct PlantedBug {
  std::string_view name;
  std::string_view what;
  DiskBug disk = DiskBug::kNone;
  int code = 0;  // of kernel/planted_bug.h
};
[[nodiscard]] const std::vector<PlantedBug>& planted_bugs();
// Plants it (those in code for the whole process), or pulls it out: nullptr.
void plant(const PlantedBug* bug);
[[nodiscard]] const PlantedBug* planted_bug() noexcept;

class LyingDisk final : public BlockDevice {
 public:
  LyingDisk(BlockDevice& under, DiskBug bug, const fs::Layout& layout) : under_(under), bug_(bug), layout_(layout) {}
  [[nodiscard]] Geometry geometry() const noexcept override { return under_.geometry(); }
  [[nodiscard]] std::string name() const override { return under_.name(); }
  Status run(std::span<const BlockIo> requests) override;
  // Honest until then.
  void begin_to_lie() noexcept { lies_ = true; }

 private:
  enum class Place : std::uint8_t { kSuperblock, kLog, kTables, kNode, kData };
  struct Kept {
    std::uint64_t offset_bytes;
    std::uint64_t length_bytes;
    fs::AlignedBuffer bytes;  // and fill
  };
  [[nodiscard]] Place place_of(const BlockIo& io) const;
  [[nodiscard]] bool kept_back(Place place) const;
  Status run_one(const BlockIo& io);
  Status let_go();

  BlockDevice& under_;
  const DiskBug bug_;
  bool lies_ = false;
  const fs::Layout layout_;
  std::vector<Kept> kept_;
  Place last_ = Place::kData;
};

}  // namespace weft::crash
