#include "mem/pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <vector>

#include "mem/allocate.h"
#include "mem/stats.h"
#include "tests/mem/checked.h"

namespace weft::mem {
namespace {

std::size_t stack_bytes() { return gather_stats().pages_bytes[static_cast<std::size_t>(PageUse::kStacks)]; }

TEST(HeapPages, AreAlignedWritableAndCounted) {
  const std::size_t before = stack_bytes();
  void* pages = take_pages(100000, PageUse::kStacks);
  ASSERT_NE(pages, nullptr);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(pages) % 16384, 0U);
  std::memset(pages, 1, 7 * 16384);
  EXPECT_EQ(stack_bytes(), before + 7 * 16384);
  EXPECT_TRUE(is_ours(pages));
  EXPECT_TRUE(test::invariants_hold());
  give_pages(pages);
  EXPECT_EQ(stack_bytes(), before);
  EXPECT_TRUE(test::invariants_hold());
}

TEST(HeapPages, WhatWasForbiddenIsUsableForTheNext) {
  constexpr std::size_t kBytes = 20 << 20;
  auto* pages = static_cast<std::byte*>(take_pages(kBytes, PageUse::kStacks));
  ASSERT_NE(pages, nullptr);
  std::memset(pages, 1, kBytes);
  ASSERT_EQ(mprotect(pages + 65536, 65536, PROT_NONE), 0);
  madvise(pages, kBytes, MADV_NOHUGEPAGE);
  constexpr int kGuardInstall = 102;  // refused by kernels before 6.13, which is well
  madvise(pages + (1 << 20), 65536, kGuardInstall);
  give_pages(pages);
  // Free now, but still the heap's: a guard that was left would be a fault, and nothing is there of what it held.
  const volatile std::byte* free_pages = pages;
  for (std::size_t i = 0; i < kBytes; i += 4096) ASSERT_TRUE(free_pages[i] == std::byte{0}) << i;
  EXPECT_TRUE(test::invariants_hold());
}

TEST(HeapPages, TooMuchIsRefused) {
  errno = 0;
  EXPECT_EQ(take_pages(SIZE_MAX, PageUse::kBuffers), nullptr);
  EXPECT_EQ(errno, ENOMEM);
  EXPECT_EQ(take_pages(std::size_t{1} << 46, PageUse::kBuffers), nullptr);
}

TEST(HeapPagesDeathTest, GivingBackTwiceOrWhatIsNoneEndsTheProcess) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  void* pages = take_pages(16384, PageUse::kStacks);
  EXPECT_DEATH(give_pages(static_cast<std::byte*>(pages) + 4096), "no pages were taken here");
  EXPECT_DEATH(release(pages), "nothing is allocated");
  give_pages(pages);
  EXPECT_DEATH(give_pages(pages), "no pages were taken here");
  int mine = 0;
  EXPECT_DEATH(give_pages(&mine), "not the heap's");
}

}  // namespace
}  // namespace weft::mem
