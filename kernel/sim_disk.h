// kernel/sim_disk.h - a disk that does, from a seed, all that real disks do to people.
//
// Reads see every completed write (D4), yet only a flush makes one durable (D2). At a power cut each write that no flush
// covers is by itself absent, present, or torn at 512 bytes, and overlapping ones end in either order. On top of that come
// faults by request: errors, writes acknowledged and lost or put elsewhere, flushes that lie, bits that flip, and rot at
// rest. The same seed and the same requests in the same order give the same disk.
//
// A failed write leaves anything between nothing and all of itself; a failed flush settles the fate of what it should have
// saved there and then, and no later flush changes it (D3).
//
// Locks: mutex_, a leaf; the `before` hook runs outside it and alone may park. Tests: tests/kernel/sim_disk_test.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "kernel/block_device.h"
#include "kernel/disk_image.h"
#include "kernel/random.h"

namespace weft {

class SimDisk final : public BlockDevice {
 public:
  static constexpr std::uint64_t kForEver = std::numeric_limits<std::uint64_t>::max();

  struct Options {
    std::uint64_t seed = 1;
    std::uint32_t alignment_bytes = 512;
    std::string name = "sim";
    bool shuffle = true;  // requests of one run() happen in a random order (D1)
    // How an unflushed write fares at a power cut; what is left of a hundred is torn.
    std::uint32_t absent_percent = 35;
    std::uint32_t present_percent = 35;
    // Called at the start of each run(), with no lock held: where a simulation lets time pass.
    std::function<void(std::span<const BlockIo>)> before = {};
  };

  enum class FaultKind : std::uint8_t {
    kError,        // the request fails with kIo
    kLost,         // a write, discard or flush says it was done and did nothing
    kMisdirected,  // a write lands somewhere else
    kFlipped,      // one bit of what is read, or of what gets stored, is wrong
  };

  // Strikes requests of `op` that touch the range: after `skip` of them have passed, the next `times`.
  struct Fault {
    BlockOp op = BlockOp::kWrite;
    FaultKind kind = FaultKind::kError;
    std::uint64_t skip = 0;
    std::uint64_t times = 1;         // kForEver until clear_faults()
    std::uint64_t offset_bytes = 0;  // a flush touches every range
    std::uint64_t length_bytes = kForEver;
  };

  struct Counters {
    std::uint64_t reads = 0;  // of requests that were carried out, or said to be
    std::uint64_t writes = 0;
    std::uint64_t flushes = 0;
    std::uint64_t discards = 0;
    std::uint64_t read_bytes = 0;
    std::uint64_t written_bytes = 0;
    std::uint64_t failed = 0;  // by faults and power, not by bad arguments
  };

  SimDisk(std::uint64_t size_bytes, Options options);
  SimDisk(DiskImage image, Options options);  // all of the image is durable

  [[nodiscard]] Geometry geometry() const noexcept override { return geometry_; }
  [[nodiscard]] std::string name() const override { return options_.name; }
  Status run(std::span<const BlockIo> requests) override;

  void inject(const Fault& fault);
  void clear_faults();
  // Flips `bits` random bits at rest in the range; in rot_random(), of a random 4 KiB chunk that holds something (returns its
  // offset, kForEver if there is none).
  void rot(std::uint64_t offset_bytes, std::uint64_t length_bytes, std::uint32_t bits = 1);
  std::uint64_t rot_random(std::uint32_t bits = 1);

  // Power. While it is off every request fails with kClosed, those under way in `before` included.
  void cut_power();
  // Goes off in the middle of the n-th write from now; n = 1 is the next. That write, and the others of its run(), count as
  // unflushed.
  void cut_power_at_write(std::uint64_t n);
  void restart();
  [[nodiscard]] bool powered() const;
  // Off and on again.
  void crash() {
    cut_power();
    restart();
  }

  // What reads see, and what a power cut would surely leave.
  [[nodiscard]] DiskImage copy() const;
  [[nodiscard]] DiskImage durable_copy() const;
  [[nodiscard]] std::size_t unflushed_writes() const;
  [[nodiscard]] Counters counters() const;

 private:
  struct Unflushed {
    std::uint64_t sequence = 0;
    std::uint64_t offset_bytes = 0;
    std::vector<std::byte> bytes;  // empty for a discard
    std::uint64_t discard_bytes = 0;
  };
  struct ArmedFault {
    Fault fault;
    std::uint64_t seen = 0;
  };

  // All with mutex_ held.
  Status execute(const BlockIo& io, std::uint64_t flush_covers_below);
  Status read_now(const BlockIo& io, bool flip);
  void write_now(const BlockIo& io, std::uint64_t offset_bytes, bool flip);
  Status flush_now(bool fails, std::uint64_t covers_below);
  const Fault* strike(const BlockIo& io);
  Unflushed gather(const BlockIo& io, std::uint64_t offset_bytes);
  void apply_whole(DiskImage& image, const Unflushed& write);
  void apply_fate(DiskImage& image, const Unflushed& write);
  void settle_unflushed();
  void flip_bit(DiskImage& image, std::uint64_t bit);

  Geometry geometry_;
  const Options options_;
  mutable std::mutex mutex_;
  Random random_;
  DiskImage current_;                 // what reads see
  DiskImage durable_;                 // current_ without unflushed_
  std::vector<Unflushed> unflushed_;  // in the order they completed
  std::uint64_t next_sequence_ = 0;
  std::vector<ArmedFault> faults_;
  std::uint64_t writes_until_cut_ = 0;  // 0: none planned
  bool powered_ = true;
  std::uint64_t power_cuts_ = 0;
  Counters counters_;
};

}  // namespace weft
