// tests/crash/life.h - a workload run on the real file system and on its model, with everything that reached the disk recorded.
//
//   workload -> [life] -> Recording + history -> search -> oracle
//
// The history has the tree (tests/support/tree_snapshot.h) after every operation; where an operation is documented to take
// several transactions (fs/README.md) and did take several, also the states between, and no others. A mark in the recording
// says that the device must hold history[value] or a later state from there on: what fsync, fdatasync, syncfs or a flag such as
// "sync" has answered for. The model says which state that is, not the file system.
//
// Images a workload begins on, made once and shared: "plain" (8 MiB), "small" (the smallest legal), "full" (small, a few
// blocks free), "many" (small, with a file of many extents), "large" (8 MiB, with that and a file of more than 1 MiB). Everything in it is the same each time.
//
// Thread-safety: start_of() keeps what it has made, for one thread. Parks as the file system does.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "kernel/clock.h"
#include "kernel/recording_disk.h"
#include "tests/crash/planted.h"
#include "tests/crash/workload.h"
#include "tests/support/tree_model.h"

namespace weft::crash {

struct Life {
  Recording recording{DiskImage(0)};
  std::vector<std::uint64_t> history;  // hash_of() each tree
  std::vector<std::string> trees;      // and its lines
  std::string wrong;                   // where file system and model answered differently; empty: nowhere
};

[[nodiscard]] std::uint64_t hash_of(std::string_view tree) noexcept;

// Always the same time.
class StoppedClock final : public Clock {
 public:
  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override { return std::chrono::nanoseconds(1); }
  [[nodiscard]] Timespec wall() const noexcept override { return {.seconds = 1'700'000'000, .nanoseconds = 0}; }
};
[[nodiscard]] StoppedClock& stopped_clock() noexcept;

// `bug` may be a device that lies (planted.h).
[[nodiscard]] Life live(const Workload& workload, DiskBug bug = DiskBug::kNone);

}  // namespace weft::crash
