#include "sched/fiber_local.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sched/current.h"
#include "sched/runtime.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

constinit FiberLocal<int> number;
constinit FiberLocal<std::string> named{[] { return std::string("new"); }};
constinit FiberLocal<std::string> user{kInherited};

TEST(FiberLocal, EachFiberHasItsOwnWhereverItRuns) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  *number = -1;
  runtime->block_on([] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 20; ++f)
      fibers.push_back(spawn("owner", [f] {
        EXPECT_EQ(*number, 0);
        EXPECT_EQ(*named, "new");
        int* place = &*number;
        for (int i = 0; i < 200; ++i) {
          *number = f * 1000 + i;
          yield();
          ASSERT_EQ(*number, f * 1000 + i);
          ASSERT_EQ(place, &*number);
        }
      }));
    for (auto& fiber : fibers) fiber.join();
  });
  EXPECT_EQ(*number, -1) << "the thread's own";
  std::thread([] { EXPECT_EQ(*number, 0); }).join();
  number.reset();
  EXPECT_FALSE(number.has_value());
}

struct Witness {
  ~Witness() {
    if (ended != nullptr) {
      fiber = current_fiber();
      ended->push_back(label);
      if (uses_other) other->label = 9;  // made anew if it has gone
    }
  }
  static FiberLocal<Witness> other;
  static const void* fiber;
  std::vector<int>* ended = nullptr;
  int label = 0;
  bool uses_other = false;
};
const void* Witness::fiber = nullptr;
FiberLocal<Witness> Witness::other;

TEST(FiberLocal, EndsOnItsFiberTheLastMadeFirst) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  FiberLocal<Witness> first;
  std::vector<int> ended;
  const void* self = nullptr;
  runtime
      ->spawn("owner",
              [&] {
                self = current_fiber();
                first->ended = &ended;
                first->label = 1;
                first->uses_other = true;
                Witness::other->ended = &ended;
                Witness::other->label = 2;
                EXPECT_TRUE(ended.empty());
              })
      .join();
  EXPECT_EQ(ended, (std::vector<int>{2, 1}));
  EXPECT_EQ(Witness::fiber, self);
}

TEST(FiberLocal, MayOutliveItsVariable) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  auto counted = std::make_shared<int>(0);
  runtime->block_on([&] {
    for (int i = 0; i < 3; ++i) {
      FiberLocal<std::shared_ptr<int>> mine;
      EXPECT_EQ(*mine, nullptr) << "a new variable never sees an old one's value";
      *mine = counted;
    }
    EXPECT_EQ(counted.use_count(), 4);
  });
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(FiberLocal, OneThatIsInheritedStartsAsTheSpawnersCopy) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  *user = "thread";
  runtime->block_on([] {
    EXPECT_EQ(*user, "thread");
    *user = "parent";
    *number = 7;
    spawn("child", [] {
      EXPECT_EQ(*user, "parent");
      EXPECT_EQ(*number, 0) << "not inherited";
      *user = "child";
      spawn("grandchild", [] { EXPECT_EQ(*user, "child"); }).join();
    }).join();
    EXPECT_EQ(*user, "parent");
  });
  EXPECT_EQ(*user, "thread");
  user.reset();
}

}  // namespace
}  // namespace weft::sched
