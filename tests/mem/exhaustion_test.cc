#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/stats.h"
#include "mem/system_memory.h"
#include "tests/mem/checked.h"

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

namespace weft::mem {
namespace {

// A process of its own, by exec, so that its heap begins under the limit: "--gtest_filter" names the body.
int status_of_body(const char* body, std::size_t limit_bytes) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit limit{.rlim_cur = limit_bytes, .rlim_max = limit_bytes};
    setrlimit(RLIMIT_AS, &limit);
    const std::string filter = std::string("--gtest_filter=") + body;
    execl("/proc/self/exe", "mem", filter.c_str(), "--gtest_also_run_disabled_tests", "--gtest_brief=1", nullptr);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

struct Node {
  Node* next;
};

// Blocks of a size until there is no memory, in a chain through themselves. Returns their number.
std::size_t fill_memory(std::size_t size, Node*& chain) {
  std::size_t count = 0;
  for (;;) {
    errno = 0;
    auto* node = static_cast<Node*>(allocate(size));
    if (node == nullptr) {
      EXPECT_EQ(errno, ENOMEM);
      return count;
    }
    node->next = chain;
    chain = node;
    ++count;
  }
}
void release_chain(Node* chain) {
  while (chain != nullptr) {
    Node* next = chain->next;
    release(chain);
    chain = next;
  }
}

// Disabled by name only: these are bodies, run by the tests below in processes of their own, whose heap begins under a limit.
TEST(HeapUnderLimit, DISABLED_FillsEmptiesAndFillsAgain) {
  for (const std::size_t size : {16UL, 200UL, 3000UL, 30000UL, 100000UL, 5000000UL}) {
    Node* chain = nullptr;
    const std::size_t first = fill_memory(size, chain);
    EXPECT_GT(first * size, 80UL << 20) << size;
    EXPECT_TRUE(test::invariants_hold());
    release_chain(chain);
    chain = nullptr;
    const std::size_t second = fill_memory(size, chain);
    EXPECT_GE(second * 100, first * 90) << size;
    release_chain(chain);
    heap_idle(0);
    EXPECT_TRUE(test::invariants_hold());
  }
  EXPECT_GT(gather_stats().reserved_bytes, 100UL << 20);
}

TEST(HeapUnderLimit, DISABLED_LeavesRoomForThreads) {
  std::vector<void*> blocks;
  blocks.reserve(10000);
  for (int i = 0; i < 10000; ++i) blocks.push_back(allocate(5000));
  // Stacks of 8 MiB each, from the same address space.
  for (int i = 0; i < 4; ++i) {
    std::jthread([&] { release(allocate(100)); }).join();
  }
  for (void* block : blocks) release(block);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(HeapExhaustion, UnderALimitOfAddressSpaceItFailsCleanlyAndGoesOn) {
  if (kSanitized) GTEST_SKIP() << "sanitizers reserve more address space than the limit";
  EXPECT_EQ(status_of_body("HeapUnderLimit.DISABLED_FillsEmptiesAndFillsAgain", 400UL << 20), 0);
  EXPECT_EQ(status_of_body("HeapUnderLimit.DISABLED_LeavesRoomForThreads", 300UL << 20), 0);
}

// Run by the test below, in processes whose heap is new: from the given call of the kernel on, all fail.
TEST(HeapUnderLimit, DISABLED_WorksWhileMappingsFail) {
  const long calls =
      std::strtol(std::getenv("WEFT_FAIL_AFTER"), nullptr, 10);  // NOLINT(concurrency-mt-unsafe): before threads
  system::fail_after(calls);
  Random random(static_cast<std::uint64_t>(calls));
  std::vector<void*> blocks(400);
  int failed = 0;
  for (int i = 0; i < 4000; ++i) {
    void*& block = blocks[random.below(blocks.size())];
    release(block);
    block = random.one_in(20) ? allocate(random.below(30000000)) : allocate(random.below(9000));
    if (block == nullptr) ++failed;
    if (block == nullptr || !random.one_in(4)) continue;
    void* moved = reallocate(block, random.below(3000000) + 1);
    if (moved != nullptr) block = moved;
  }
  std::jthread([] { release(allocate(10)); }).join();
  EXPECT_TRUE(test::invariants_hold());
  EXPECT_GT(failed, 0);
  system::fail_after(-1);
  for (void* block : blocks) release(block);
  void* after = allocate(100);
  EXPECT_NE(after, nullptr);
  release(after);
  EXPECT_TRUE(test::invariants_hold());
}

// Every call of the kernel fails in its turn, and all after it: blocks are there or they are not, nothing else happens.
TEST(HeapExhaustion, EachFailingMappingIsAnAnswerAndNoCrash) {
  for (int calls = 0; calls < 24; ++calls) {
    setenv("WEFT_FAIL_AFTER", std::to_string(calls).c_str(), 1);  // NOLINT(concurrency-mt-unsafe): no threads here
    ASSERT_EQ(status_of_body("HeapUnderLimit.DISABLED_WorksWhileMappingsFail", RLIM_INFINITY), 0)
        << "with call " << calls << " failing";
  }
}

}  // namespace
}  // namespace weft::mem
