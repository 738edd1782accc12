#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/stats.h"
#include "mem/system_memory.h"
#include "tests/mem/checked.h"
#include "tests/mem/own_process.h"

#if defined(WEFT_ASAN) || defined(WEFT_TSAN)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

namespace weft::mem {
namespace {

// A control group with a limit of memory, of either version; gone with this. Empty path: none can be made here.
class MemoryGroup {
 public:
  explicit MemoryGroup(std::size_t limit_bytes) {
    for (const auto& [root, limit] :
         {std::pair{"/sys/fs/cgroup", "memory.max"}, std::pair{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"}}) {
      const std::filesystem::path folder = std::filesystem::path(root) / ("weft-test." + std::to_string(getpid()));
      std::error_code refused;
      if (!std::filesystem::create_directory(folder, refused)) continue;
      if (std::filesystem::exists(folder / limit) && write(folder / limit, std::to_string(limit_bytes))) {
        path_ = folder;
        return;
      }
      std::filesystem::remove(folder, refused);
    }
  }
  ~MemoryGroup() {
    std::error_code gone;
    // Not remove_all(): its files are not ours to remove.
    if (!path_.empty()) std::filesystem::remove(path_, gone);
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  explicit operator bool() const { return !path_.empty(); }
  // The caller is in it from now on, and so are its children.
  [[nodiscard]] bool enter() const { return write(path_ / "cgroup.procs", std::to_string(getpid())); }

 private:
  static bool write(const std::filesystem::path& file, const std::string& text) {
    std::ofstream out(file);
    out << text;
    return static_cast<bool>(out.flush());
  }
  std::filesystem::path path_;
};

// The heap begins under the limit, and in the group.
int status_of_body(const char* body, std::size_t limit_bytes, const MemoryGroup* group = nullptr) {
  return test::status_of_body(body, [&] {
    const rlimit limit{.rlim_cur = limit_bytes, .rlim_max = limit_bytes};
    return (group == nullptr || group->enter()) && (limit_bytes == RLIM_INFINITY || setrlimit(RLIMIT_AS, &limit) == 0);
  });
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

// By name only, as the others: HeapExhaustion.UnderALimitOfAddressSpace... runs it in a process that has the limit.
TEST(HeapUnderLimit, DISABLED_LongBlocksFindRoomThatShortOnesHad) {
  std::size_t first_count = 0;
  for (int round = 0; round < 5; ++round) {
    Node* chain = nullptr;
    const std::size_t count = fill_memory(3000, chain);
    if (round == 0) first_count = count;
    EXPECT_GE(count * 100, first_count * 90) << round;
    release_chain(chain);
    // Half of the limit, where the heap takes an eighth of it at a time.
    auto* block = static_cast<char*>(allocate(200UL << 20));
    ASSERT_NE(block, nullptr) << round;
    block[0] = block[(200UL << 20) - 1] = 1;
    EXPECT_TRUE(test::invariants_hold());
    release(block);
    EXPECT_TRUE(test::invariants_hold());
  }
  // What is left is the first, and what lists hold.
  trim(0);
  EXPECT_LT(gather_stats().reserved_bytes, 160UL << 20);
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
  EXPECT_EQ(status_of_body("HeapUnderLimit.DISABLED_LongBlocksFindRoomThatShortOnesHad", 400UL << 20), 0);
}

// A limit that comes when there is a heap already, with its terabyte of address space.
void limit_from_now(int resource, std::size_t bytes) {
  const rlimit limit{.rlim_cur = bytes, .rlim_max = bytes};
  ASSERT_EQ(setrlimit(static_cast<__rlimit_resource_t>(resource), &limit), 0);
}

void fill_and_empty_within(std::size_t limit_bytes) {
  for (const std::size_t size : {16UL, 3000UL, 100000UL, 5000000UL}) {
    Node* chain = nullptr;
    const std::size_t count = fill_memory(size, chain);
    EXPECT_LT(count * size, limit_bytes) << size;
    EXPECT_GT(count * size, limit_bytes / 4) << size;
    EXPECT_TRUE(test::invariants_hold());
    release_chain(chain);
    heap_idle(SIZE_MAX);
  }
}

TEST(HeapUnderLimit, DISABLED_SeesALimitOfAddressSpaceThatComesLater) {
  std::vector<void*> blocks;
  blocks.reserve(2000);
  for (int i = 0; i < 2000; ++i) blocks.push_back(allocate(5000));
  EXPECT_GT(gather_stats().reserved_bytes, 1UL << 38);
  limit_from_now(RLIMIT_AS, 400UL << 20);
  // The heap sees it when it grows, and then there is room for others: a stack of 8 MiB.
  blocks.push_back(allocate(20UL << 20));
  std::jthread([] { release(allocate(100)); }).join();
  fill_and_empty_within(400UL << 20);
  EXPECT_LT(gather_stats().reserved_bytes, 400UL << 20);
  for (void* block : blocks) release(block);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(HeapUnderLimit, DISABLED_SeesALimitOfDataThatComesLater) {
  void* block = allocate(100);
  limit_from_now(RLIMIT_DATA, 200UL << 20);
  fill_and_empty_within(200UL << 20);
  release(block);
}

TEST(HeapExhaustion, ALimitThatComesLaterIsKeptToo) {
  if (kSanitized) GTEST_SKIP() << "sanitizers reserve more address space than the limit";
  EXPECT_EQ(status_of_body("HeapUnderLimit.DISABLED_SeesALimitOfAddressSpaceThatComesLater", RLIM_INFINITY), 0);
  EXPECT_EQ(status_of_body("HeapUnderLimit.DISABLED_SeesALimitOfDataThatComesLater", RLIM_INFINITY), 0);
}

// Of what the program holds, and not of what it held: sizes that come one after another would add up to four times the limit.
TEST(HeapUnderLimit, DISABLED_KeepsTheMemoryOfAGroup) {
  for (int round = 0; round < 3; ++round) {
    for (const std::size_t size : {40UL, 1000UL, 9000UL, 40000UL, 300000UL, 3000000UL}) {
      std::vector<void*> blocks((std::size_t{44} << 20) / size);
      for (void*& block : blocks) {
        block = allocate(size);
        ASSERT_NE(block, nullptr);
        std::memset(block, 1, size);
      }
      EXPECT_TRUE(test::invariants_hold());
      for (void* block : blocks) release(block);
    }
  }
}

// The kernel ends who goes beyond; there is no answer that a program could hear.
TEST(HeapExhaustion, InAGroupWithLittleMemoryItLivesOnWhatItsProgramHolds) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need more memory than the group has";
  const MemoryGroup group(64UL << 20);
  if (!group)
    GTEST_SKIP() << "no control group with a limit of memory can be made here (as root, with the memory controller)";
  EXPECT_EQ(status_of_body("HeapUnderLimit.DISABLED_KeepsTheMemoryOfAGroup", RLIM_INFINITY, &group), 0);
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
