#include "sched/work_deque.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace weft::sched {
namespace {

TEST(WorkDeque, TheOwnerWorksAtOneEndAndThievesAtTheOther) {
  WorkDeque<int> deque(4);
  std::array<int, 3> items{};
  for (int& item : items) deque.push(&item);
  EXPECT_EQ(deque.size(), 3U);
  EXPECT_EQ(deque.newest(), &items[2]);
  EXPECT_EQ(deque.steal(), &items[0]);
  EXPECT_EQ(deque.pop(), &items[2]);
  EXPECT_EQ(deque.pop(), &items[1]);
  EXPECT_EQ(deque.pop(), nullptr);
  EXPECT_EQ(deque.steal(), nullptr);
  EXPECT_EQ(deque.newest(), nullptr);
  EXPECT_TRUE(deque.empty());
}

TEST(WorkDeque, StaleHintsAtItsOldEndAreDroppedTogether) {
  WorkDeque<int> deque(8);
  std::array<int, 6> items{0, 0, 0, 7, 0, 0};
  for (int& item : items) deque.push(&item);
  const auto stale = [](int item) { return item == 0; };
  deque.drop_oldest(2, stale);
  EXPECT_EQ(deque.size(), 4U);
  deque.drop_oldest(64, stale);
  EXPECT_EQ(deque.size(), 3U);
  EXPECT_EQ(deque.peek(0), &items[3]);
  EXPECT_EQ(deque.peek(2), &items[5]);
  EXPECT_EQ(deque.peek(3), nullptr);
  EXPECT_EQ(deque.steal(), &items[3]);
  deque.drop_oldest(64, stale);
  EXPECT_TRUE(deque.empty());
  deque.drop_oldest(64, stale);
  deque.push(&items[0]);
  EXPECT_EQ(deque.pop(), &items[0]);
}

TEST(WorkDeque, GrowsWithoutLosingWhatIsInIt) {
  WorkDeque<std::size_t> deque(2);
  std::vector<std::size_t> items(1000);
  std::size_t stolen = 0;
  for (std::size_t i = 0; i < items.size(); ++i) {
    items[i] = i;
    deque.push(&items[i]);
    if (i % 3 == 0) {
      EXPECT_EQ(*deque.steal(), stolen++);
    }
  }
  for (std::size_t i = items.size(); i-- > stolen;) EXPECT_EQ(*deque.pop(), i);
  EXPECT_EQ(deque.pop(), nullptr);
}

TEST(WorkDeque, ForgettingTheNewestTakesItOutUnlessAThiefMayBeAtIt) {
  WorkDeque<int> deque(4);
  std::array<int, 3> items{};
  for (int& item : items) deque.push(&item);
  EXPECT_FALSE(deque.forget_newest([] { return false; }));
  EXPECT_EQ(deque.newest(), &items[2]);
  EXPECT_TRUE(deque.forget_newest([] { return true; }));
  EXPECT_TRUE(deque.forget_newest([] { return true; }));
  EXPECT_EQ(deque.newest(), &items[0]);
  EXPECT_TRUE(deque.forget_newest([] { return true; }));
  EXPECT_EQ(deque.newest(), &items[0]);  // the last one stays
  EXPECT_EQ(deque.steal(), &items[0]);
}

// One owner that pushes and pops at random, thieves, and a buffer that starts small: each item is taken exactly once.
TEST(WorkDeque, EachItemIsTakenOnceByOwnerOrThief) {
  constexpr unsigned kSeed = 20131;
  constexpr std::size_t kItems = 60'000;
  WorkDeque<std::atomic<int>> deque(2);
  std::vector<std::atomic<int>> taken(kItems);
  std::atomic<bool> done{false};
  std::vector<std::thread> thieves;
  for (int t = 0; t < 3; ++t) {
    thieves.emplace_back([&] {
      while (!done || !deque.empty())
        if (std::atomic<int>* item = deque.steal()) item->fetch_add(1);
    });
  }
  std::minstd_rand random(kSeed);
  for (std::size_t i = 0; i < kItems;) {
    for (auto burst = random() % 20; burst-- > 0 && i < kItems;) deque.push(&taken[i++]);
    for (auto burst = random() % 15; burst-- > 0;)
      if (std::atomic<int>* item = deque.pop()) item->fetch_add(1);
  }
  while (std::atomic<int>* item = deque.pop()) item->fetch_add(1);
  done = true;
  for (auto& thief : thieves) thief.join();
  for (auto& item : taken) ASSERT_EQ(item, 1) << "seed " << kSeed;
}

// As the scheduler uses it for fibers that have not begun: an item is a hint, and who claims it has it. None is lost.
TEST(WorkDeque, HintsThatAreForgottenAndStolenAreClaimedOnceEach) {
  constexpr std::size_t kItems = 60'000;
  WorkDeque<std::atomic<int>> deque(2);
  std::vector<std::atomic<int>> state(kItems);  // 0: not begun, 1: claimed
  std::atomic<std::size_t> claimed{0};
  std::atomic<bool> done{false};
  const auto claim = [&](std::atomic<int>& item) {
    if (item.exchange(1) != 0) return false;
    claimed.fetch_add(1);
    return true;
  };
  std::vector<std::thread> thieves;
  for (int t = 0; t < 2; ++t) {
    thieves.emplace_back([&] {
      while (!done || !deque.empty())
        if (std::atomic<int>* item = deque.steal()) claim(*item);
    });
  }
  for (std::size_t i = 0; i < kItems; ++i) {
    deque.push(&state[i]);
    if (i % 4 != 3) continue;
    for (int joined = 0; joined < 3; ++joined) {
      std::atomic<int>* newest = deque.newest();
      if (newest == nullptr) continue;
      deque.forget_newest([&] {
        const bool mine = claim(*newest);
        std::atomic_thread_fence(std::memory_order_seq_cst);
        return mine;
      });
    }
  }
  done = true;
  for (auto& thief : thieves) thief.join();
  while (std::atomic<int>* item = deque.steal()) claim(*item);
  EXPECT_EQ(claimed, kItems);
}

}  // namespace
}  // namespace weft::sched
