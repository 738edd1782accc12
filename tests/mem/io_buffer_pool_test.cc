#include "mem/io_buffer_pool.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "kernel/uring.h"
#include "mem/pages.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

std::size_t bytes_of_buffers() { return gather_stats().pages_bytes[static_cast<std::size_t>(PageUse::kBuffers)]; }

TEST(IoBufferPool, GivesAlignedBuffersUntilAllAreOut) {
  auto pool = IoBufferPool::create(5000, 10);
  ASSERT_TRUE(pool.has_value());
  EXPECT_EQ(pool->buffer_bytes(), 8192U);
  EXPECT_EQ(pool->area().size(), 81920U);
  EXPECT_GE(bytes_of_buffers(), 81920U);
  std::set<std::byte*> buffers;
  while (std::byte* buffer = pool->take()) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer) % 4096, 0U);
    EXPECT_TRUE(pool->holds(buffer) && pool->holds(buffer + 8191));
    std::memset(buffer, 1, 8192);
    EXPECT_TRUE(buffers.insert(buffer).second);
  }
  EXPECT_EQ(buffers.size(), 10U);
  std::byte* last = *buffers.begin();
  pool->give(last);
  EXPECT_EQ(pool->take(), last);
  for (std::byte* buffer : buffers) pool->give(buffer);
  EXPECT_FALSE(pool->holds(nullptr));
}

TEST(IoBufferPool, GoesBackToTheHeap) {
  const std::size_t before = bytes_of_buffers();
  {
    auto pool = IoBufferPool::create(std::size_t{1} << 20, 8);
    ASSERT_TRUE(pool.has_value());
    IoBufferPool moved = std::move(*pool);
    std::byte* buffer = moved.take();
    ASSERT_NE(buffer, nullptr);
    moved.give(buffer);
  }
  EXPECT_EQ(bytes_of_buffers(), before);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(IoBufferPool, NonsenseAndTooMuchAreRefused) {
  EXPECT_FALSE(IoBufferPool::create(0, 10).has_value());
  EXPECT_FALSE(IoBufferPool::create(4096, 0).has_value());
  EXPECT_FALSE(IoBufferPool::create(SIZE_MAX, 1).has_value());
  EXPECT_FALSE(IoBufferPool::create(std::size_t{1} << 40, std::size_t{1} << 30).has_value());
}

TEST(IoBufferPool, ThreadsNeverHaveTheSameBuffer) {
  auto pool = IoBufferPool::create(4096, 8);
  ASSERT_TRUE(pool.has_value());
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 20000; ++i) {
        std::byte* buffer = pool->take();
        ASSERT_NE(buffer, nullptr);
        std::memset(buffer, t, 64);
        for (int k = 0; k < 64; ++k) ASSERT_EQ(buffer[k], static_cast<std::byte>(t));
        pool->give(buffer);
      }
    });
  }
}

TEST(IoBufferPool, ARingReadsAndWritesItsRegisteredArea) {
  auto ring = Uring::create({});
  if (!ring) GTEST_SKIP() << "no io_uring here: " << ring.error().message();
  auto pool = IoBufferPool::create(65536, 16);
  ASSERT_TRUE(pool.has_value());
  const iovec area{.iov_base = pool->area().data(), .iov_len = pool->area().size()};
  const Status registered = ring->register_buffers({&area, 1});
  if (!registered) GTEST_SKIP() << "no memory can be registered here: " << registered.error().message();
  const int file = memfd_create("io_buffer_pool_test", MFD_CLOEXEC);
  std::byte* out = pool->take();
  std::byte* in = pool->take();
  std::memset(out, 7, 65536);
  const auto result_of = [&](const UringRequest& request) {
    EXPECT_TRUE(ring->prepare(request));
    std::int32_t result = -1;
    EXPECT_TRUE(ring->submit_and_wait(1));
    ring->reap([&](UringCompletion completion) { result = completion.result; });
    return result;
  };
  EXPECT_EQ(result_of(uring::write_fixed(file, out, 65536, 0, 0)), 65536);
  EXPECT_EQ(result_of(uring::read_fixed(file, in, 65536, 0, 0)), 65536);
  EXPECT_EQ(std::memcmp(in, out, 65536), 0);
  EXPECT_TRUE(ring->unregister_buffers());
  pool->give(in);
  pool->give(out);
  close(file);
}

TEST(IoBufferPoolDeathTest, WhatIsNotItsBufferOrIsStillOutEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  auto pool = IoBufferPool::create(8192, 4);
  ASSERT_TRUE(pool.has_value());
  std::byte* buffer = pool->take();
  EXPECT_DEATH(pool->give(buffer + 4096), "no buffer of the pool");
  std::byte other{};
  EXPECT_DEATH(pool->give(&other), "no buffer of the pool");
  EXPECT_DEATH(pool.reset(), "before its buffers are back");
  pool->give(buffer);
}

}  // namespace
}  // namespace weft::mem
