// tests/sched/join_test.cc - a fiber that has not begun when it is joined runs above the frames of who joins it: nobody may notice.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/mutex.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

// One worker, so that nobody steals the child before it is joined.
template <typename Test>
void on_one_worker(Test&& test) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on(test);
}

TEST(Join, AChildThatHasNotBegunRunsWhereItIsJoinedAndAsItself) {
  on_one_worker([] {
    const FiberState* parent = current_fiber();
    const auto* parent_frame = static_cast<const char*>(__builtin_frame_address(0));
    const FiberState* child = nullptr;
    std::ptrdiff_t below = 0;
    Fiber fiber = spawn("child", [&] {
      child = current_fiber();
      below = parent_frame - static_cast<const char*>(__builtin_frame_address(0));
      EXPECT_STREQ(child->name, "child");
    });
    fiber.join();
    EXPECT_NE(child, parent);
    EXPECT_EQ(current_fiber(), parent);
    EXPECT_GT(below, 0);
    EXPECT_LT(below, 32 * 1024);
  });
}

// Thieves leave small fibers alone (Worker::judge_steal()), but not for long.
TEST(Join, AfterManySmallChildrenALongOneIsStillTakenByAnotherWorker) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    for (int round = 0; round < 3; ++round) {
      std::vector<Fiber> small;
      small.reserve(20'000);
      for (int i = 0; i < 20'000; ++i) {
        spawn("small", [] {}).join();
        small.push_back(spawn("small", [] {}));
      }
      for (Fiber& fiber : small) fiber.join();
      std::atomic<bool> ran{false};
      Fiber child = spawn("long", [&] { ran = true; });
      const auto give_up = std::chrono::steady_clock::now() + 20s;
      while (!ran && std::chrono::steady_clock::now() < give_up) {}  // this worker does not come to it
      EXPECT_TRUE(ran);
      child.join();
    }
  });
}

TEST(Join, AStopRequestReachesTheChildAndNotTheJoiner) {
  on_one_worker([] {
    bool asked = false;
    Fiber fiber = spawn("asked", [&] { asked = stop_requested() && !sleep_for(1h).has_value(); });
    fiber.request_stop();
    fiber.join();
    EXPECT_TRUE(asked);
    EXPECT_FALSE(stop_requested());
  });
}

TEST(Join, TheChildMayParkAndOthersRunMeanwhile) {
  on_one_worker([] {
    Semaphore turn(0);
    std::string order;
    Fiber helper;
    Fiber child = spawn("child", [&] {
      order += 'a';
      helper = spawn("helper", [&] {
        order += 'b';
        turn.release();
      });
      EXPECT_TRUE(turn.acquire().has_value());
      (void)sleep_for(1ms);
      order += 'c';
    });
    child.join();
    order += 'd';
    helper.join();
    EXPECT_EQ(order, "abcd");
  });
}

TEST(Join, AnExceptionComesOutAndTheJoinersOwnIsKept) {
  on_one_worker([] {
    try {
      throw std::runtime_error("the joiner's");
    } catch (const std::exception&) {
      Fiber child = spawn("child", [] {
        EXPECT_EQ(std::current_exception(), nullptr);
        EXPECT_EQ(std::uncaught_exceptions(), 0);
        yield();
        throw 7;
      });
      EXPECT_THROW(child.join(), int);
      try {
        throw;
      } catch (const std::exception& still) {
        EXPECT_STREQ(still.what(), "the joiner's");
      }
    }
  });
}

struct JoinsWhileUnwinding {
  int* seen;
  ~JoinsWhileUnwinding() {
    spawn("child", [this] { *seen = std::uncaught_exceptions(); }).join();
  }
};

TEST(Join, AChildJoinedWhileUnwindingUnwindsNothing) {
  on_one_worker([] {
    int seen = -1;
    try {
      const JoinsWhileUnwinding joins{&seen};
      throw 1;
    } catch (int) {
      EXPECT_EQ(std::uncaught_exceptions(), 0);
    }
    EXPECT_EQ(seen, 0);
  });
}

int depth_by_joins(int depth) {
  if (depth == 0) return 0;
  int below = 0;
  spawn("deeper", [&] { below = depth_by_joins(depth - 1); }).join();
  return below + 1;
}

TEST(Join, ChainsOfChildrenAreAsDeepAsMemoryIsAndNotAsOneStack) {
  auto runtime = Runtime::create({.workers = 2, .stack_bytes = 64 * 1024});
  ASSERT_TRUE(runtime.has_value());
  EXPECT_EQ(runtime->block_on([] { return depth_by_joins(3000); }), 3000);
}

void use_stack(std::size_t bytes) {
  constexpr std::size_t kFrame = 1024;
  volatile char frame[kFrame];
  frame[0] = 1;
  frame[kFrame - 1] = 1;
  if (bytes > 2 * kFrame) use_stack(bytes - kFrame - 256);
  frame[1] = frame[0];
}

TEST(Join, AChildHasAWholeStackHoweverDeepItsJoinerStands) {
  auto runtime = Runtime::create({.workers = 1, .stack_bytes = 64 * 1024});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    for (const std::size_t used : {0, 8, 16, 24, 32}) {
      volatile char ballast[1] = {0};
      (void)ballast;
      use_stack(used * 1024);
      spawn("child", [] { use_stack(40 * 1024); }).join();
    }
  });
}

TEST(Join, APinnedJoinerGoesOnOnItsWorkerWhereverTheChildEnds) {
  auto runtime = Runtime::create({.workers = 3});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    for (int i = 0; i < 200; ++i) {
      const NoMigrate stay;
      const unsigned home = worker_index();
      Fiber child = spawn("wanders", [i] {
        for (int j = 0; j < 5; ++j) {
          yield();
          if ((i + j) % 7 == 0) (void)sleep_for(20us);
        }
      });
      child.join();
      ASSERT_EQ(worker_index(), home);
    }
  });
}

TEST(Join, OthersRunInALoopThatOnlyStartsAndJoins) {
  on_one_worker([] {
    std::atomic<bool> ran{false};
    Semaphore go(0);
    Fiber waiting = spawn("waiting", [&] {
      (void)go.acquire();
      ran = true;
    });
    yield();
    go.release();
    int rounds = 0;
    for (; !ran && rounds < 100'000; ++rounds) spawn("child", [] {}).join();
    EXPECT_LT(rounds, 1000);
    waiting.join();
  });
}

TEST(Join, ADeadlinePassesWhileTheChildHasNotBegun) {
  on_one_worker([] {
    std::atomic<bool> end{false};
    Fiber child = spawn("child", [&] {
      while (!end) (void)sleep_for(100us);
    });
    auto waited = child.wait_until(Deadline::after(2ms));
    ASSERT_FALSE(waited);
    EXPECT_EQ(waited.error(), Errc::kTimedOut);
    end = true;
    child.join();
  });
}

// Children that are stolen, joined early, joined late, out of order, detached and never begun before their handle is gone.
TEST(Join, EveryChildRunsOnceInAnyOrderOfJoins) {
  auto runtime = Runtime::create({.workers = 3});
  ASSERT_TRUE(runtime.has_value());
  std::atomic<long> ran{0};
  runtime->block_on([&] {
    std::vector<Fiber> roots;
    for (int r = 0; r < 6; ++r) {
      roots.push_back(spawn("root", [&, r] {
        for (int round = 0; round < 60; ++round) {
          std::vector<Fiber> children;
          for (int c = 0; c < 12; ++c) {
            children.push_back(spawn("child", [&, c] {
              if (c % 5 == 1) yield();
              if (c % 11 == 3) (void)sleep_for(10us);
              spawn("grandchild", [&] { ran.fetch_add(1); }).join();
              ran.fetch_add(1);
            }));
          }
          for (std::size_t c = 0; c < children.size(); ++c) {
            Fiber& next = children[(c * 5 + static_cast<std::size_t>(r)) % children.size()];
            if (c % 6 == 4) {
              (void)next.wait_until(Deadline::after(1us));
            }
            next.join();
          }
        }
      }));
    }
    for (Fiber& root : roots) root.join();
  });
  EXPECT_EQ(ran, 6L * 60 * 12 * 2);
}

}  // namespace
}  // namespace weft::sched
