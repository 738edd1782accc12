// fs/memory_plan.h - one number for the memory of a server, divided among everything in it that grows with use.
//
//   mount.weft -o memory=SIZE -> [memory_plan] -> VolumeOptions, FileSystemOptions, fuse::SessionOptions
//
// Each share is a bound that its owner keeps, and the shares together are the number. What is not in here does not grow with the
// number of files or with time: the program, its threads, metrics, rings, a fiber for each request under way; and 0.4 MiB for each
// TiB of the volume (group table).
// Tests: tests/fs/memory_plan_test.cc; on real mounts: tests/e2e/memory.sh, tests/e2e/soak.sh
#pragma once

#include <cstdint>

namespace weft::fs {

inline constexpr std::uint64_t kLeastMemoryBytes = 32 << 20;
inline constexpr std::uint64_t kDefaultMemoryBytes = 256 << 20;

struct MemoryPlan {
  std::uint64_t node_bytes = 0;    // tree nodes, those included that wait for a checkpoint
  std::uint64_t bitmap_bytes = 0;  // of free space
  std::uint64_t log_bytes = 0;     // transactions on their way to the log
  std::uint64_t inodes = 0;        // in memory without an operation at work on them
  std::uint64_t references = 0;    // inodes that the kernel holds before it is asked to let go of some
  std::uint64_t read_bytes = 0;    // data of answers under way
  std::uint64_t write_bytes = 0;   // data of requests under way
};

// `memory_bytes` is kLeastMemoryBytes or more.
[[nodiscard]] MemoryPlan divide_memory(std::uint64_t memory_bytes) noexcept;

}  // namespace weft::fs
