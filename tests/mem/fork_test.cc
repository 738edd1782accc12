#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"
#include "tests/support/sanitizer.h"

namespace weft::mem {
namespace {

// Exit status of a child that runs `body`; it is killed after twenty seconds.
template <typename Body>
int status_of_child(const Body& body) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    _exit(body());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

int work_in_child(std::uint64_t seed) {
  Random random(seed);
  std::array<void*, 300> blocks{};
  for (int i = 0; i < 5000; ++i) {
    void*& block = blocks[random.below(blocks.size())];
    release(block);
    block = allocate(random.below(3000));
    if (block == nullptr) return 2;
  }
  for (void* block : blocks) release(block);
  return 0;
}

TEST(HeapFork, AChildFindsTheHeapWhole) {
  std::vector<void*> blocks;
  blocks.reserve(1000);
  for (int i = 0; i < 1000; ++i) blocks.push_back(allocate(i));
  EXPECT_EQ(status_of_child([&] {
              for (void* block : blocks) release(block);
              return test::invariants_hold() ? work_in_child(1) : 3;
            }),
            0);
  for (void* block : blocks) release(block);
}

TEST(HeapFork, ChildrenOfABusyParentWithThreadsDoNotHang) {
  if (weft::test::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer's own fork with threads running takes minutes";
  std::atomic<bool> stop{false};
  std::atomic<void*> shared{nullptr};
  std::vector<std::jthread> threads;
  threads.reserve(3);
  for (std::uint64_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      std::array<void*, 200> blocks{};
      while (!stop) {
        void*& block = blocks[random.below(blocks.size())];
        release(block);
        block = allocate(random.below(40000));
        release(shared.exchange(allocate(64)));
      }
      for (void* block : blocks) release(block);
    });
  }
  for (int i = 0; i < 40; ++i) EXPECT_EQ(status_of_child([&] { return work_in_child(i); }), 0) << "child " << i;
  stop = true;
  threads.clear();
  release(shared);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(HeapFork, AChildUsesWhatTheParentsThreadsHad) {
  std::atomic<int> ready{0};
  std::atomic<bool> stop{false};
  std::vector<void*> kept(500);
  // Its list holds 1,500 free blocks while the child is made, and the thread is not in the child.
  std::jthread other([&] {
    std::vector<void*> all(2000);
    for (void*& block : all) block = allocate(96);
    for (int i = 0; i < 2000; ++i) {
      if (i % 4 == 0)
        kept[i / 4] = all[i];
      else
        release(all[i]);
    }
    ready = 1;
    ready.notify_all();
    stop.wait(false);
  });
  ready.wait(0);
  EXPECT_EQ(status_of_child([&] {
              const std::size_t made = gather_stats().slabs_made;
              for (int i = 0; i < 1200; ++i) {
                if (allocate(96) == nullptr) return 2;
              }
              for (void* block : kept) release(block);
              if (!test::invariants_hold()) return 3;
              return gather_stats().slabs_made <= made + 2 ? 0 : 4;
            }),
            0);
  stop = true;
  stop.notify_all();
  other.join();
  for (void* block : kept) release(block);
}

TEST(HeapFork, GrandchildrenWork) {
  EXPECT_EQ(status_of_child([&] {
              std::jthread([] { release(allocate(10)); }).join();
              return status_of_child([] { return work_in_child(7); });
            }),
            0);
}

}  // namespace
}  // namespace weft::mem
