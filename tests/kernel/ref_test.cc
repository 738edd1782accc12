#include "kernel/ref.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace weft {
namespace {

struct Counted : RefCounted<Counted> {
  explicit Counted(int& alive_now) : alive(alive_now) { ++alive; }
  ~Counted() { --alive; }
  int& alive;
};

TEST(Ref, ObjectLivesAsLongAsTheLastRef) {
  int alive = 0;
  {
    Ref<Counted> first = make_ref<Counted>(alive);
    EXPECT_TRUE(first->unique());
    Ref<Counted> second = first;
    EXPECT_EQ(first->ref_count(), 2u);
    EXPECT_FALSE(first->unique());
    EXPECT_EQ(first, second);
    first.reset();
    EXPECT_FALSE(first);
    EXPECT_EQ(alive, 1);
    Ref<Counted> third = std::move(second);
    EXPECT_EQ(third->ref_count(), 1u);
    const Ref<Counted>& itself = third;
    third = itself;
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Ref, PlainPointerBecomesARefAgainAndAReleasedOneIsAdopted) {
  int alive = 0;
  Ref<Counted> first = make_ref<Counted>(alive);
  Counted* plain = first.get();
  Ref<Counted> second(plain);
  EXPECT_EQ(plain->ref_count(), 2u);
  Counted* given_away = second.release();
  EXPECT_EQ(plain->ref_count(), 2u) << "with its count";
  first.reset();
  EXPECT_EQ(alive, 1);
  Ref<Counted>::adopt(given_away).reset();
  EXPECT_EQ(alive, 0);
}

TEST(Ref, CountHoldsAmongThreads) {
  int alive = 0;
  {
    const Ref<Counted> shared = make_ref<Counted>(alive);
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&shared] {
        for (int i = 0; i < 10'000; ++i) Ref<Counted>{shared};
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_TRUE(shared->unique());
  }
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace weft
