#include "fs/fuse/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
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

}  // namespace
}  // namespace weft::fs::fuse
