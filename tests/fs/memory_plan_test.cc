#include "fs/memory_plan.h"

#include <gtest/gtest.h>

#include "fs/inode.h"

namespace weft::fs {
namespace {

TEST(MemoryPlan, SharesStayWithinTheWhole) {
  for (const std::uint64_t memory : {kLeastMemoryBytes, kDefaultMemoryBytes, std::uint64_t{5} << 30}) {
    const MemoryPlan plan = divide_memory(memory);
    const std::uint64_t sum = plan.node_bytes + plan.bitmap_bytes + plan.log_bytes + plan.inodes * sizeof(Inode) +
                              plan.references * 24 + plan.read_bytes + plan.write_bytes;
    EXPECT_LE(sum, memory / 16 * 13);
    EXPECT_GE(sum, memory / 16 * 12);
    EXPECT_GE(plan.inodes, 1000u);
    EXPECT_GE(plan.read_bytes, 1u << 20) << "one answer of the largest size";
  }
}

}  // namespace
}  // namespace weft::fs
