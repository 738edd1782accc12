#include "fs/fuse/buffer_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace weft::fs::fuse {
namespace {

TEST(BufferPool, GivesPagesOfAtLeastTheSizeAsked) {
  BufferPool pool;
  for (const std::size_t size : {1UL, 4096UL, 4097UL, 1UL << 20, (1UL << 20) + 4096}) {
    const Buffer buffer = pool.take(size);
    ASSERT_TRUE(buffer);
    EXPECT_GE(buffer.bytes().size(), size);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.bytes().data()) % 4096, 0U);
  }
  EXPECT_FALSE(pool.take(BufferPool::kLargestBytes + 1));
}

TEST(BufferPool, TheLargestMayBeHugePages) {
  BufferPool pool;
  const Buffer buffer = pool.take(BufferPool::kLargestBytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.bytes().data()) % BufferPool::kLargestBytes, 0U);
}

TEST(BufferPool, ReusesTheMemoryGivenBackLast) {
  BufferPool pool;
  const std::byte* last = nullptr;
  {
    const Buffer first = pool.take(8192);
    const Buffer second = pool.take(8192);
    last = first.bytes().data();  // destroyed after `second`
  }
  EXPECT_EQ(pool.take(8192).bytes().data(), last);
}

TEST(BufferPool, KeepsNoMoreThanItsBound) {
  BufferPool pool(64 << 10);
  {
    std::vector<Buffer> many;
    for (int i = 0; i < 64; ++i) many.push_back(pool.take(8192));
  }
  EXPECT_EQ(pool.kept_bytes(), 64U << 10);
}

TEST(BufferPool, WhoWantsALargeOneWaitsWhileTheBoundIsReached) {
  constexpr std::size_t kLarge = 1 << 20;
  BufferPool pool(4 * kLarge);
  std::atomic<int> out{0};
  std::atomic<int> most{0};
  const auto use = [&] {
    for (int i = 0; i < 200; ++i) {
      const Buffer buffer = pool.take(kLarge);
      ASSERT_TRUE(buffer);
      const int now = ++out;
      for (int before = most; before < now && !most.compare_exchange_weak(before, now);) {}
      ASSERT_TRUE(pool.take(BufferPool::kSmallBytes)) << "small ones never wait";
      std::this_thread::yield();
      --out;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) threads.emplace_back(use);
  for (std::thread& thread : threads) thread.join();
  EXPECT_LE(most, 4);
  EXPECT_EQ(pool.large_bytes(), 0u);
  EXPECT_LE(pool.kept_bytes(), 4 * kLarge);
  EXPECT_TRUE(BufferPool(4096).take(kLarge)) << "one that is larger than the bound, alone";
}

TEST(BufferPool, WhatIsKeptInOneSizeMakesRoomForAnother) {
  BufferPool pool(1 << 20);
  {
    std::vector<Buffer> many;
    for (int i = 0; i < 16; ++i) many.push_back(pool.take(64 << 10));
  }
  EXPECT_EQ(pool.kept_bytes(), 1U << 20);
  const Buffer large = pool.take(512 << 10);
  EXPECT_EQ(pool.kept_bytes() + pool.large_bytes(), 1U << 20);
}

}  // namespace
}  // namespace weft::fs::fuse
