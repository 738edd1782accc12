#include "mem/purge_thread.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/heap_registry.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"
#include "tests/mem/commands.h"
#include "tests/mem/kernel_barrier.h"
#include "tests/mem/own_process.h"
#include "tests/support/sanitizer.h"

namespace weft::mem {
namespace {

// A thread that does what it is told, and sleeps in between.
class Sleeper {
 public:
  ~Sleeper() {
    state_ = kEnd;
    state_.notify_all();
  }
  template <typename Body>
  void run(const Body& body) {
    body_ = [&] {
      heap_ = current_heap;
      body();
      heap_ = current_heap;
    };
    state_ = kBusy;
    state_.notify_all();
    state_.wait(kBusy);
  }
  LocalHeap& heap() { return *heap_; }

 private:
  enum State : int { kIdle, kBusy, kEnd };
  void work() {
    for (;;) {
      state_.wait(kIdle);
      if (state_ == kEnd) return;
      body_();
      state_ = kIdle;
      state_.notify_all();
    }
  }
  std::atomic<int> state_{kIdle};
  std::function<void()> body_;
  LocalHeap* heap_ = nullptr;
  std::jthread thread_{[this] { work(); }};
};

std::vector<void*> some_blocks(std::size_t count, std::size_t size) {
  std::vector<void*> blocks(count);
  for (void*& block : blocks) block = allocate(size);
  return blocks;
}

TEST(HeapTended, WhatOthersFreedOfASleepingThreadGoes) {
  if (!test::kernel_has_barrier()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  for (const std::size_t size : {48UL, 700UL, 20000UL, 100000UL}) {
    Sleeper owner;
    std::vector<void*> blocks;
    owner.run([&] { blocks = some_blocks((std::size_t{20} << 20) / size, size); });
    const std::size_t held = owner.heap().held_units();
    ASSERT_GT(held * kUnitBytes, std::size_t{20} << 20);
    for (void* block : blocks) release(block);
    current_heap->flush();
    ASSERT_GT(owner.heap().held_units(), held / 2) << "nobody has looked after it";
    while (!owner.heap().tend()) {}
    // What is being carved, and what the owner's vector took.
    EXPECT_LT(owner.heap().held_units(), 80U) << size;
    EXPECT_TRUE(test::invariants_hold());
    owner.run([&] { blocks = some_blocks(5000, size); });
    for (void* block : blocks) release(block);
    EXPECT_TRUE(test::invariants_hold());
  }
}

TEST(HeapTended, SlabsOfWhichTheOwnerHasBlocksStayWholeAndAreUsedAgain) {
  if (!test::kernel_has_barrier()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  Sleeper owner;
  std::vector<void*> blocks;
  owner.run([&] {
    blocks = some_blocks(20000, 64);
    for (std::size_t i = 0; i < blocks.size(); ++i) test::fill(blocks[i], 64, i);
    // Some wait in its list.
    for (std::size_t i = 0; i < blocks.size(); i += 5) release(blocks[i]);
  });
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    if (i % 5 != 0 && i % 5 != 3) release(blocks[i]);
  }
  current_heap->flush();
  while (!owner.heap().tend()) {}
  EXPECT_TRUE(owner.heap().is_asked_to_flush());
  EXPECT_TRUE(test::invariants_hold());
  const std::size_t held = owner.heap().held_units();
  owner.run([&] {
    std::vector<void*> more = some_blocks(15000, 64);
    for (std::size_t i = 3; i < blocks.size(); i += 5) EXPECT_TRUE(test::is_filled(blocks[i], 64, i));
    for (void* block : more) release(block);
  });
  EXPECT_LE(owner.heap().held_units(), held + 16) << "what was freed is used again";
  for (std::size_t i = 3; i < blocks.size(); i += 5) release(blocks[i]);
  EXPECT_TRUE(test::invariants_hold());
}

// Owners that are awake all the time, and somebody who takes them for sleepers.
TEST(HeapTended, AnOwnerThatIsAwakeLosesNothing) {
  if (!test::kernel_has_barrier()) GTEST_SKIP() << "this kernel has no membarrier(2)";
  std::array<std::atomic<void*>, 64> shared{};
  std::atomic<int> running{3};
  std::atomic<int> wrong{0};
  {
    std::vector<std::jthread> threads;
    threads.reserve(3);
    for (std::uint64_t t = 0; t < 3; ++t) {
      threads.emplace_back([&, t] {
        Random random(test::test_seed(26) + t);
        std::array<void*, 300> mine{};
        for (int i = 0; i < 150000; ++i) {
          auto* made = static_cast<std::uint64_t*>(allocate(16 + random.below(3000)));
          made[0] = reinterpret_cast<std::uint64_t>(made);
          void*& place = mine[random.below(mine.size())];
          auto* old = static_cast<std::uint64_t*>(random.one_in(3) ? shared[random.below(shared.size())].exchange(made)
                                                                   : std::exchange(place, made));
          if (old != nullptr && old[0] != reinterpret_cast<std::uint64_t>(old)) ++wrong;
          release(old);
        }
        for (void* block : mine) release(block);
        --running;
      });
    }
    while (running > 0) {
      heap_registry.each([](LocalHeap& heap) {
        if (!heap.is_private() && heap.state() == HeapState::kOwned) heap.tend();
      });
    }
  }
  for (auto& block : shared) release(block);
  EXPECT_EQ(wrong, 0);
  EXPECT_TRUE(test::invariants_hold());
}

// What the program of that name says, by its words.
std::map<std::string, long> idle(const std::string& how, const std::string& options = "") {
  const test::Outcome end =
      test::shell((options.empty() ? "" : "WEFT_HEAP=" + options + " ") + "LD_PRELOAD=" + test::preload_library() +
                  " timeout 60 " + (test::build_folder() / "tests/preload/idle").string() + " " + how);
  EXPECT_EQ(end.status, 0) << end.said;
  std::map<std::string, long> numbers;
  std::istringstream words(end.said);
  std::string word;
  for (long number = 0; words >> word >> number;) numbers[word] = number;
  return numbers;
}

class IdleMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(test::preload_library()))
      GTEST_SKIP() << "libweft-mem.so is not built beside this: a sanitizer brings a malloc of its own";
  }
};

// Two seconds are promised; a machine that has much else to do may take longer.
constexpr long kSoonMs = 5000;

TEST_F(IdleMemory, GoesBackWhoeverFreedItAndTheProcessIsNotWokenUpAgain) {
  auto others = std::async(std::launch::async, [] { return idle("others 260 20"); });
  auto own = std::async(std::launch::async, [] { return idle("own 260 20"); });
  for (auto* program : {&others, &own}) {
    const auto numbers = program->get();
    EXPECT_GT(numbers.at("full"), 200L << 10);
    EXPECT_GE(numbers.at("ms"), 0);
    EXPECT_LE(numbers.at("ms"), kSoonMs);
    EXPECT_LT(numbers.at("left"), 8L << 10);
    EXPECT_GE(numbers.at("quiet"), 1) << "it wakes up although there is nothing to do";
  }
}

TEST_F(IdleMemory, WhatIsKeptAsAnEighthOfTheRestGoesToo) {
  auto without = std::async(std::launch::async, [] { return idle("most 260 4", "purge_thread=off"); });
  auto with = std::async(std::launch::async, [] { return idle("most 260 4"); });
  const auto kept = without.get();
  EXPECT_EQ(kept.at("threads"), 3);
  const auto back = with.get();
  EXPECT_EQ(back.at("threads"), 4);
  EXPECT_LT(back.at("left"), kept.at("left") - (5L << 10));
  // A quarter of it is in use.
  EXPECT_LT(back.at("left"), (65L << 10) + (20L << 10));
}

TEST_F(IdleMemory, WithoutTheThreadWhatSleepersGetBackStays) {
  const auto numbers = idle("others 260 1", "purge_thread=off");
  EXPECT_EQ(numbers.at("threads"), 5);
  EXPECT_GT(numbers.at("left"), 60L << 10) << "this is what the thread is for";
}

TEST_F(IdleMemory, AProgramWithoutThreadsHasNoneButWhereItIsAskedFor) {
  EXPECT_EQ(idle("one 64 1").at("threads"), 1);
  EXPECT_EQ(idle("one 64 1", "purge_thread=on").at("threads"), 2);
}

TEST_F(IdleMemory, ProcessesEndAsTheyWould) {
  for (int i = 0; i < 10; ++i) {
    idle("exit 100 0");
    if (::testing::Test::HasFailure()) return;
  }
  // The last of its own threads ends it, although the heap's would sleep on.
  idle("end 64 0");
}

// Disabled by name only: it needs a process whose heap has that thread.
TEST(PurgeThread, DISABLED_ChildrenOfAParentThatHasItWork) {
  purge_thread::allow(PurgeThread::kOn);
  std::atomic<bool> stop{false};
  std::atomic<void*> shared{nullptr};
  std::vector<std::jthread> threads;
  threads.reserve(2);
  for (std::uint64_t t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      Random random(t);
      std::vector<void*> blocks(400);
      while (!stop) {
        void*& block = blocks[random.below(blocks.size())];
        release(block);
        block = allocate(random.below(100000));
        release(shared.exchange(allocate(64)));
      }
      for (void* block : blocks) release(block);
    });
  }
  for (int i = 0; i < 60; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      // It has a thread of its own as soon as it is worth it, and children.
      std::vector<void*> blocks = some_blocks(8000, 1000);
      for (std::size_t k = 0; k < blocks.size(); ++k) test::fill(blocks[k], 1000, k);
      const pid_t grandchild = i % 10 == 0 ? fork() : -1;
      bool right = true;
      for (std::size_t k = 0; k < blocks.size(); ++k) {
        right = right && test::is_filled(blocks[k], 1000, k);
        release(blocks[k]);
      }
      if (grandchild == 0) _exit(right ? 0 : 3);
      int status = 0;
      if (grandchild > 0) waitpid(grandchild, &status, 0);
      _exit(right && status == 0 ? 0 : 3);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "child " << i << ": " << status;
  }
  stop = true;
  threads.clear();
  release(shared);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(PurgeThreadInAProcess, ForksByTheDozen) {
  if (weft::test::kThreadSanitizer) GTEST_SKIP() << "ThreadSanitizer ends a forked child that starts a thread";
  EXPECT_EQ(test::status_of_body("PurgeThread.DISABLED_ChildrenOfAParentThatHasItWork"), 0);
}

}  // namespace
}  // namespace weft::mem
