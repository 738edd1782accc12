// kernel/recording_disk.h - remembers everything a device was asked to store, so that a test can crash it anywhere.
//
//   code under test -> [RecordingDisk] -> MemoryDisk        finish() -> Recording -> kernel/crash_states.h -> recovery
//
// Legal contents after a crash at one point of the log: every write that had completed before the submission of the last
// flush completed by then is there; every later one that had begun is absent, present, or torn at 512 bytes, by itself,
// overlapping ones in either order. Recording::content() builds any of them in the time its chosen writes take, because
// the content after each flush is kept as an O(1) copy.
//
// Locks: mutex_, a leaf, not held while the device below runs. run() parks if the device below does.
// Tests: tests/kernel/recording_disk_test.cc.
#pragma once

#include <cstdint>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/block_device.h"
#include "kernel/disk_image.h"

namespace weft {

class Recording {
 public:
  static constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

  enum class EventKind : std::uint8_t {
    kWriteBegin,
    kWriteEnd,
    kWriteFailed,
    kFlushBegin,
    kFlushEnd,
    kFlushFailed,
    kMark
  };
  struct Event {
    EventKind kind;
    std::uint64_t subject;  // index of the write or flush, or the mark's value
    std::string label;      // of a mark
  };
  struct Write {
    std::uint64_t offset_bytes = 0;
    std::uint64_t length_bytes = 0;
    std::vector<std::byte> bytes;  // empty for a discard
    std::size_t begin = kNever;    // event numbers
    std::size_t end = kNever;      // of its success or failure
    std::size_t durable = kNever;  // of the flush's end that made it so
    bool unsavable = false;        // failed, or covered by a flush that failed: no later flush makes it durable
  };
  // One unflushed write that outlives the crash, or a part of it: sectors of 512 bytes [first, first + count), or all but.
  struct Survivor {
    std::size_t write = 0;
    std::uint64_t first_sector = 0;
    std::uint64_t sectors = std::numeric_limits<std::uint64_t>::max();
    bool all_but = false;
  };

  explicit Recording(DiskImage initial);

  [[nodiscard]] const std::vector<Event>& events() const noexcept { return events_; }
  [[nodiscard]] const std::vector<Write>& writes() const noexcept { return writes_; }

  // The crash comes after the first `prefix` events; 0..events().size().
  // Writes then begun and not durable, in the order they began.
  [[nodiscard]] std::vector<std::size_t> unflushed_at(std::size_t prefix) const;
  // The content of which nothing can be lost.
  [[nodiscard]] const DiskImage& durable_at(std::size_t prefix) const;
  // That, and `survivors` on top in the order given; each must be of unflushed_at(prefix).
  [[nodiscard]] DiskImage content(std::size_t prefix, std::span<const Survivor> survivors) const;
  // Marks set by then.
  [[nodiscard]] std::size_t marks_at(std::size_t prefix) const;

 private:
  friend class RecordingDisk;
  struct Epoch {
    std::size_t from;             // the first prefix that has it
    std::size_t first_unflushed;  // all writes before this one are durable
    DiskImage image;
  };

  std::size_t add(EventKind kind, std::uint64_t subject, std::string label = {});
  void flushed(std::size_t flush_begin);
  void flush_failed();
  void apply(DiskImage& image, const Survivor& survivor) const;
  [[nodiscard]] const Epoch& epoch_at(std::size_t prefix) const;

  std::vector<Event> events_;
  std::vector<Write> writes_;
  std::vector<Epoch> epochs_;           // ascending by `from`; the first has the initial content
  std::vector<std::size_t> completed_;  // succeeded and not durable yet, in the order they ended
};

class RecordingDisk final : public BlockDevice {
 public:
  // `initial` is what `under` holds now: MemoryDisk::copy(), or nothing written yet.
  RecordingDisk(BlockDevice& under, DiskImage initial);
  explicit RecordingDisk(BlockDevice& under);

  [[nodiscard]] Geometry geometry() const noexcept override { return under_.geometry(); }
  [[nodiscard]] std::string name() const override { return under_.name(); }
  Status run(std::span<const BlockIo> requests) override;

  // Notes where the code under test is: "fsync 3 returned".
  void mark(std::uint64_t value, std::string label = {});
  // The log so far, leaving an empty one that goes on from the device's present content; with no request under way.
  Recording finish();

 private:
  BlockDevice& under_;
  std::mutex mutex_;
  Recording log_;              // guarded by mutex_
  std::uint64_t flushes_ = 0;  // guarded by mutex_
  std::size_t running_ = 0;    // guarded by mutex_
};

}  // namespace weft
