#include "sched/local_queue.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

namespace weft::sched {
namespace {

TEST(LocalQueue, IsFirstInFirstOutAndBounded) {
  LocalQueue<int, 4> queue;
  std::array<int, 5> items{};
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.push(&items[static_cast<std::size_t>(i)]));
  EXPECT_FALSE(queue.push(&items[4]));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(queue.pop(), &items[static_cast<std::size_t>(i)]);
  EXPECT_EQ(queue.pop(), nullptr);
}

TEST(LocalQueue, PeekShowsWhatComesAndLeavesIt) {
  LocalQueue<int, 4> queue;
  std::array<int, 3> items{};
  EXPECT_EQ(queue.peek(0), nullptr);
  for (int& item : items) queue.push(&item);
  EXPECT_EQ(queue.pop(), &items[0]);
  EXPECT_EQ(queue.peek(0), &items[1]);
  EXPECT_EQ(queue.peek(1), &items[2]);
  EXPECT_EQ(queue.peek(2), nullptr);
  EXPECT_EQ(queue.size(), 2U);
}

TEST(LocalQueue, AThiefTakesHalfRoundedUp) {
  LocalQueue<int, 8> queue;
  LocalQueue<int, 8> thief;
  std::array<int, 5> items{};
  for (auto& item : items) queue.push(&item);
  EXPECT_EQ(queue.steal_half(thief), &items[0]);
  EXPECT_EQ(thief.size(), 2U);
  EXPECT_EQ(queue.size(), 2U);
  EXPECT_EQ(thief.pop(), &items[1]);
  EXPECT_EQ(queue.pop(), &items[3]);
}

TEST(LocalQueue, EachItemIsTakenOnceWhileThievesSteal) {
  constexpr int kItems = 30000;
  LocalQueue<std::atomic<int>, 64> queue;
  std::vector<std::atomic<int>> taken(kItems);
  std::atomic<bool> done{false};
  std::vector<std::thread> thieves;
  for (int t = 0; t < 2; ++t) {
    thieves.emplace_back([&] {
      LocalQueue<std::atomic<int>, 64> own;
      const auto round = [&] {
        std::atomic<int>* item = queue.steal_half(own);
        if (item == nullptr) return false;
        for (; item != nullptr; item = own.pop()) item->fetch_add(1);
        return true;
      };
      while (!done) round();
      while (round()) {}
    });
  }
  for (auto& item : taken) {
    while (!queue.push(&item))
      if (auto* mine = queue.pop()) mine->fetch_add(1);
  }
  while (auto* mine = queue.pop()) mine->fetch_add(1);
  done = true;
  for (auto& thief : thieves) thief.join();
  for (auto& item : taken) ASSERT_EQ(item, 1);
}

}  // namespace
}  // namespace weft::sched
