#include "tools/server_heap.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "mem/heap_check.h"
#include "mem/stats.h"
#include "sched/runtime.h"

namespace weft::tools {
namespace {

std::size_t bytes_of_stacks() {
  return mem::gather_stats().pages_bytes[static_cast<std::size_t>(mem::PageUse::kStacks)];
}

TEST(ServerHeap, FibersRunOnStacksOfTheHeapAndGiveThemBack) {
  {
    auto runtime = sched::Runtime::create({.workers = 2, .stack_memory = stacks_of_heap()});
    ASSERT_TRUE(runtime.has_value());
    std::vector<sched::Fiber> fibers;
    fibers.reserve(300);
    for (int i = 0; i < 300; ++i) {
      fibers.push_back(runtime->spawn("deep", [] {
        volatile char frame[50000];
        std::memset(const_cast<char*>(frame), 1, sizeof frame);
        sched::yield();
        frame[0] = 2;
      }));
    }
    for (sched::Fiber& fiber : fibers) fiber.join();
    EXPECT_GE(bytes_of_stacks(), std::size_t{128} << 10);
    EXPECT_EQ(mem::check_invariants().broken, nullptr);
  }
  EXPECT_EQ(bytes_of_stacks(), 0U);
}

// Tests have the system's malloc.
TEST(ServerHeap, WhereMallocIsAnotherStacksAreTheKernels) { EXPECT_EQ(server_stacks().take, nullptr); }

}  // namespace
}  // namespace weft::tools
