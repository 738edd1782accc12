// sched/simulated_files.h - files in memory that forget at a power cut what was not synced, for io.h, file.h and FileDisk.
//
//   SimulatedFiles files({.seed = seed});      // of one machine; hosts of a SimulatedNetwork have their own
//   simulation.use_files(files);
//   ... io::open("/log", O_RDWR | O_CREAT, 0600), io::write, io::fdatasync ...; files.crash(Crash::kPower); ...
//
// Each file lies on a SimDisk of its own (kernel/sim_disk.h): a write since the last fsync is by itself absent, present or torn at a
// power cut, a failed fsync loses for good what it should have saved, and disk() is there to make requests fail or lie and to let
// bits rot. A file that was growing has any length between the synced and the last one. Names are journaled: since the last fsync of a
// directory (any: O_DIRECTORY) a first part of what was created, renamed and unlinked has happened. So a new file is safe only
// when both it and its directory are synced.
//
// Reads and writes may be short, each call takes its time, and what one perform_all() asks for happens in any order. A path is a
// name and nothing more: its folders need not exist, "." and links have no meaning. Offered are open (O_CREAT, O_EXCL, O_TRUNC,
// O_APPEND, O_DIRECTORY), read and write at an offset or at the end, fsync, fallocate (0, KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE), statx of
// size and mode, rename, unlink, close; a file has at most 1 TiB. What else is asked for fails with kUnsupported.
//
// For a Simulation only, on its thread. Each call is a line in the trace. Tests: tests/sched/simulated_files_test.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "kernel/sim_disk.h"
#include "sched/file_system.h"
#include "sched/simulated_host.h"

namespace weft::sched {

struct SimulatedFilesOptions {
  std::uint64_t seed = 1;
  std::string name = "files";  // in traces
  // Of each call, and of each fsync.
  std::chrono::nanoseconds latency_max = std::chrono::microseconds(20);
  std::chrono::nanoseconds sync_min = std::chrono::microseconds(50);
  std::chrono::nanoseconds sync_max = std::chrono::milliseconds(2);
  // Of a thousand each: calls that do a part of what was asked, and that fail with EIO.
  std::uint32_t short_permille = 20;
  std::uint32_t read_error_permille = 0;
  std::uint32_t write_error_permille = 0;
  std::uint32_t sync_error_permille = 0;
  std::uint64_t capacity_bytes = SimDisk::kForEver;  // lengths of all files together; then ENOSPC
};

class SimulatedFiles final : public io::FileSystem {
 public:
  using Options = SimulatedFilesOptions;

  explicit SimulatedFiles(const Options& options = {});
  ~SimulatedFiles() override;
  SimulatedFiles(const SimulatedFiles&) = delete;
  SimulatedFiles& operator=(const SimulatedFiles&) = delete;

  // May be changed at any time; the seed counts once.
  [[nodiscard]] Options& options() noexcept;
  // What the file lies on; null: no such name. Lives as long as the file has a name or is open.
  [[nodiscard]] SimDisk* disk(const std::string& path);
  // Closes all that is open and ends the calls that are under way, each before or after its effect. kPower: as above.
  void crash(Crash crash);

  void perform(std::span<io::Call> calls) noexcept override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::sched
