#include "fs/page_pool.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <set>
#include <vector>

namespace weft::fs {
namespace {

// Pages of the process that the kernel has memory for, of those given.
std::size_t resident(const std::set<std::byte*>& pages) {
  std::size_t count = 0;
  for (std::byte* page : pages) {
    unsigned char is_there = 0;
    EXPECT_EQ(mincore(page, kBlockBytes, &is_there), 0);
    count += is_there & 1;
  }
  return count;
}

TEST(PagePool, PagesAreAlignedApartAndTakenAgain) {
  PagePool pool;
  std::vector<Page*> taken;
  std::set<std::byte*> places;
  for (int i = 0; i < 1000; ++i) {
    taken.push_back(pool.take());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(taken.back()->bytes) % kBlockBytes, 0u);
    std::memset(taken.back()->bytes, i, kBlockBytes);
    EXPECT_TRUE(places.insert(taken.back()->bytes).second);
  }
  EXPECT_EQ(std::to_integer<int>(taken[7]->bytes[kBlockBytes - 1]), 7);
  EXPECT_EQ(pool.taken(), 1000u);
  for (Page* page : taken) pool.give_back(page);
  for (int i = 0; i < 1000; ++i) {
    taken[static_cast<std::size_t>(i)] = pool.take();
    EXPECT_TRUE(places.contains(taken[static_cast<std::size_t>(i)]->bytes)) << "new memory though there was free";
  }
  for (Page* page : taken) pool.give_back(page);
}

TEST(PagePool, MemoryBeyondTheWarmPagesGoesBackToTheSystem) {
  constexpr std::size_t kWarm = 10;
  PagePool pool(kWarm);
  std::vector<Page*> taken;
  std::set<std::byte*> places;
  for (int i = 0; i < 500; ++i) {
    taken.push_back(pool.take());
    std::memset(taken.back()->bytes, 1, kBlockBytes);
    places.insert(taken.back()->bytes);
  }
  EXPECT_EQ(resident(places), 500u);
  // Every second one first: what lies between others in use goes, too.
  for (std::size_t i = 0; i < taken.size(); i += 2) pool.give_back(taken[i]);
  EXPECT_EQ(resident(places), 250 + kWarm);
  for (std::size_t i = 1; i < taken.size(); i += 2) pool.give_back(taken[i]);
  EXPECT_EQ(pool.warm(), kWarm);
  EXPECT_EQ(resident(places), kWarm);
}

}  // namespace
}  // namespace weft::fs
