#include "fs/memory_plan.h"

#include "fs/inode.h"

namespace weft::fs {
namespace {

// With its entry in the table, and what malloc takes for both.
constexpr std::uint64_t kInodeBytes = sizeof(Inode) + 64;
// fs/reference_counts.h: while it grows.
constexpr std::uint64_t kReferenceBytes = 24;

}  // namespace

// Three sixteenths are left to what does not grow, and to malloc for what lies between its blocks.
MemoryPlan divide_memory(std::uint64_t memory_bytes) noexcept {
  const std::uint64_t sixteenth = memory_bytes / 16;
  return {.node_bytes = 6 * sixteenth,
          .bitmap_bytes = sixteenth,
          .log_bytes = sixteenth,
          .inodes = sixteenth / kInodeBytes,
          .references = 2 * sixteenth / kReferenceBytes,
          .read_bytes = sixteenth,
          .write_bytes = sixteenth};
}

}  // namespace weft::fs
