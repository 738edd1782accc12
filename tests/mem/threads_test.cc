#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#include "kernel/random.h"
#include "mem/allocate.h"
#include "mem/page_runs.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"
#include "tests/support/sanitizer.h"

namespace weft::mem {
namespace {

using test::invariants_hold;

struct Block {
  void* at = nullptr;
  std::size_t size = 0;
  std::uint64_t mark = 0;
};

// Where threads leave blocks for each other.
class Exchange {
 public:
  // Gives one, gets another or nothing.
  Block swap(std::size_t place, const Block& mine) {
    const std::scoped_lock guard(mutexes_[place % kPlaces]);
    return std::exchange(blocks_[place % kPlaces], mine);
  }
  static constexpr std::size_t kPlaces = 512;

 private:
  std::array<std::mutex, kPlaces> mutexes_;
  std::array<Block, kPlaces> blocks_;
};

Block make_block(Random& random, std::uint64_t mark) {
  const std::size_t size = random.one_in(50) ? random.below(100000) : 1 + random.below(800);
  Block block{.at = allocate(size), .size = size, .mark = mark};
  test::fill(block.at, size, mark);
  return block;
}

void hand_around(Exchange& exchange, std::uint64_t seed, int rounds, std::atomic<int>& wrong) {
  Random random(seed);
  for (int i = 0; i < rounds; ++i) {
    const Block got = exchange.swap(random.below(Exchange::kPlaces), make_block(random, random.next()));
    if (got.at == nullptr) continue;
    if (!test::is_filled(got.at, got.size, got.mark)) ++wrong;
    release(got.at);
  }
}

void empty(Exchange& exchange) {
  for (std::size_t i = 0; i < Exchange::kPlaces; ++i) release(exchange.swap(i, {}).at);
}

int rounds(int usual) {
  const char* asked = std::getenv("WEFT_HEAP_STEPS");  // NOLINT(concurrency-mt-unsafe): before threads
  return asked != nullptr ? std::atoi(asked) : usual;
}

TEST(HeapThreads, BlocksHandedToOthersKeepWhatTheyHold) {
  const std::uint64_t seed = test::test_seed(1);
  std::atomic<int> wrong{0};
  Exchange exchange;
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] { hand_around(exchange, seed + t, rounds(20000), wrong); });
    }
  }
  EXPECT_EQ(wrong, 0) << "seed " << seed;
  EXPECT_TRUE(invariants_hold());
  empty(exchange);
  EXPECT_TRUE(invariants_hold());
}

TEST(HeapThreads, StormsOfShortThreadsLeaveNothingBehind) {
  const std::uint64_t seed = test::test_seed(2);
  std::atomic<int> wrong{0};
  Exchange exchange;
  for (std::uint64_t round = 0; round < 60; ++round) {
    std::vector<std::jthread> threads;
    threads.reserve(6);
    for (std::uint64_t t = 0; t < 6; ++t) {
      threads.emplace_back([&, t, round] { hand_around(exchange, seed + round * 10 + t, 300, wrong); });
    }
  }
  EXPECT_EQ(wrong, 0) << "seed " << seed;
  empty(exchange);
  heap_idle(0);
  EXPECT_TRUE(invariants_hold());
  // Blocks of threads that have ended were freed by this one: their slabs went, too.
  const Stats stats = gather_stats();
  EXPECT_LT(stats.small_bytes, 2000000U);
  EXPECT_LE(stats.heaps, 40U);
}

TEST(HeapThreads, OneMakesAndAnotherReleasesWithoutGrowing) {
  constexpr std::size_t kRing = 4096;
  std::vector<std::atomic<void*>> ring(kRing);
  constexpr int kBlocks = 400000;
  const std::size_t before = gather_stats().live_bytes;
  std::size_t most = 0;
  {
    const std::jthread consumer([&] {
      for (int i = 0; i < kBlocks; ++i) {
        void* block = nullptr;
        while ((block = ring[i % kRing].exchange(nullptr, std::memory_order_acquire)) == nullptr)
          std::this_thread::yield();
        release(block);
      }
    });
    for (int i = 0; i < kBlocks; ++i) {
      while (ring[i % kRing].load(std::memory_order_acquire) != nullptr) std::this_thread::yield();
      ring[i % kRing].store(allocate(100), std::memory_order_release);
      if (i % 10000 == 0) most = std::max(most, page_runs.live_units() * kUnitBytes);
    }
  }
  // The ring holds 460 KB; 45 MB went through it.
  EXPECT_LT(most, before + 4000000);
  EXPECT_TRUE(invariants_hold());
}

TEST(HeapThreads, AHeapWithoutOwnerIsTheNextThreads) {
  const std::size_t before = gather_stats().heaps;
  for (int i = 0; i < 50; ++i) {
    std::jthread([] { release(allocate(10)); }).join();
  }
  EXPECT_LE(gather_stats().heaps, before + 1);
}

TEST(HeapThreads, FreeBlocksOfAHeapWithoutOwnerAreAdopted) {
  std::vector<void*> kept;
  kept.reserve(40);
  // Forty slabs' worth, of which one block each stays.
  std::jthread([&] {
    std::vector<void*> all;
    all.reserve(4000);
    for (int i = 0; i < 4000; ++i) all.push_back(allocate(160));
    for (int i = 0; i < 4000; ++i) {
      if (i % 100 == 0) {
        kept.push_back(all[i]);
      } else {
        release(all[i]);
      }
    }
  }).join();
  const std::size_t before = gather_stats().slabs_adopted;
  std::vector<void*> mine;
  mine.reserve(3000);
  for (int i = 0; i < 3000; ++i) mine.push_back(allocate(160));
  EXPECT_GT(gather_stats().slabs_adopted, before + 10);
  EXPECT_TRUE(invariants_hold());
  for (void* block : mine) release(block);
  for (void* block : kept) release(block);
  EXPECT_TRUE(invariants_hold());
}

TEST(HeapThreads, WhatAThreadLeavesIsFreedByWhoHasIt) {
  std::vector<void*> blocks;
  blocks.reserve(20000);
  std::jthread([&] {
    for (int i = 0; i < 20000; ++i) blocks.push_back(allocate(500));
  }).join();
  const std::size_t full = gather_stats().live_bytes;
  for (void* block : blocks) release(block);
  heap_idle(0);
  EXPECT_LT(gather_stats().live_bytes, full - 20000 * 500);
  EXPECT_TRUE(invariants_hold());
}

// A destructor of thread-specific data that runs after the heap's own may still free and allocate.
pthread_key_t late_key;
TEST(HeapThreads, DestructorsThatRunLateMayUseTheHeap) {
  if (weft::test::kThreadSanitizer) GTEST_SKIP() << "its runtime is gone by the time late destructors run";
  release(allocate(1));
  ASSERT_EQ(pthread_key_create(&late_key,
                               [](void* block) {
                                 release(block);
                                 static thread_local int rounds = 0;
                                 if (++rounds < 4)
                                   pthread_setspecific(late_key, allocate(300));
                                 else
                                   release(allocate(300));
                               }),
            0);
  for (int i = 0; i < 20; ++i) {
    std::jthread([] { pthread_setspecific(late_key, allocate(200)); }).join();
  }
  pthread_key_delete(late_key);
  EXPECT_TRUE(invariants_hold());
}

}  // namespace
}  // namespace weft::mem
