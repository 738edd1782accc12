#include "sched/runtime.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "sched/condition_variable.h"
#include "sched/mutex.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

Runtime make(unsigned workers = 2) {
  auto runtime = Runtime::create({.workers = workers});
  EXPECT_TRUE(runtime.has_value()) << runtime.error().message();
  return std::move(*runtime);
}

TEST(Runtime, StartsAndEndsWithNothingToDo) {
  for (int i = 0; i < 5; ++i) Runtime runtime = make(3);
}

TEST(Runtime, BlockOnReturnsTheResult) {
  Runtime runtime = make();
  EXPECT_EQ(runtime.block_on([] { return on_fiber() ? 42 : 0; }), 42);
}

TEST(Runtime, AnExceptionPassesFromFiberToJoin) {
  Runtime runtime = make();
  EXPECT_THROW(runtime.block_on([] { throw std::runtime_error("from the fiber"); }), std::runtime_error);
  runtime.block_on([] {
    Fiber thrower = spawn("thrower", [] { throw 7; });
    try {
      thrower.join();
      ADD_FAILURE() << "nothing thrown";
    } catch (int value) {
      EXPECT_EQ(value, 7);
    }
  });
}

TEST(Runtime, ManyFibersAllRunOnce) {
  Runtime runtime = make();
  std::atomic<int> ran{0};
  runtime.block_on([&] {
    std::vector<Fiber> fibers;
    for (int i = 0; i < 2000; ++i)
      fibers.push_back(spawn("one of many", [&] {
        if (ran.fetch_add(1) % 3 == 0) yield();
      }));
    for (auto& fiber : fibers) fiber.join();
  });
  EXPECT_EQ(ran, 2000);
}

TEST(Runtime, SeveralRuntimesShareAMutex) {
  Runtime first = make(1);
  Runtime second = make(1);
  Mutex mutex;
  int count = 0;
  const auto work = [&] {
    for (int i = 0; i < 2000; ++i) {
      const std::lock_guard guard(mutex);
      ++count;
      if (i % 100 == 0) yield();
    }
  };
  Fiber a = first.spawn("a", work);
  Fiber b = second.spawn("b", work);
  std::thread c(work);
  a.join();
  b.join();
  c.join();
  EXPECT_EQ(count, 6000);
}

TEST(Runtime, SleepLastsAtLeastAsLongAsAsked) {
  Runtime runtime = make(1);
  const auto start = std::chrono::steady_clock::now();
  runtime.block_on([] {
    std::vector<Fiber> sleepers;
    for (int i = 0; i < 50; ++i)
      sleepers.push_back(spawn("sleeper", [i] { (void)sleep_for(std::chrono::milliseconds(i % 5 + 1)); }));
    for (auto& sleeper : sleepers) sleeper.join();
  });
  const auto took = std::chrono::steady_clock::now() - start;
  EXPECT_GE(took, 5ms);
  EXPECT_LT(took, 1s);
}

TEST(Runtime, AFiberIsWokenByAPlainThread) {
  Runtime runtime = make();
  Mutex mutex;
  ConditionVariable changed;
  int turn = 0;
  std::thread thread([&] {
    for (int i = 0; i < 200; ++i) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn % 2 == 1; });
      ++turn;
      changed.notify_one();
    }
  });
  runtime.block_on([&] {
    for (int i = 0; i < 200; ++i) {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return turn % 2 == 0; });
      ++turn;
      changed.notify_one();
    }
  });
  thread.join();
  EXPECT_EQ(turn, 400);
}

TEST(Runtime, AnIdleWorkerTakesWhatWaitsBehindAHog) {
  Runtime runtime = make(2);
  std::atomic<bool> flag{false};
  runtime.block_on([&] {
    Mutex mutex;
    mutex.lock();
    Fiber waiting = spawn("woken", [&] {
      const std::lock_guard guard(mutex);
      flag = true;
    });
    (void)sleep_for(2ms);
    mutex.unlock();  // puts it into this worker's next slot, and the worker is not let go of
    const auto limit = std::chrono::steady_clock::now() + 2s;
    while (!flag && std::chrono::steady_clock::now() < limit) {}
    EXPECT_TRUE(flag);
    waiting.join();
  });
}

TEST(Runtime, APinnedFiberStaysOnItsWorker) {
  Runtime runtime = make(2);
  for (unsigned home = 0; home < 2; ++home) {
    runtime
        .spawn_pinned(home, "pinned",
                      [home] {
                        for (int i = 0; i < 200; ++i) {
                          ASSERT_EQ(worker_index(), home);
                          if (i % 50 == 0) {
                            (void)sleep_for(10us);
                          } else {
                            yield();
                          }
                        }
                      })
        .join();
  }
}

TEST(Runtime, NoMigrateKeepsAFiberWhereItIs) {
  Runtime runtime = make(2);
  runtime.block_on([] {
    std::vector<Fiber> fibers;
    for (int f = 0; f < 8; ++f)
      fibers.push_back(spawn("stays", [] {
        const NoMigrate stay;
        const unsigned home = worker_index();
        for (int i = 0; i < 100; ++i) {
          yield();
          ASSERT_EQ(worker_index(), home);
        }
      }));
    for (auto& fiber : fibers) fiber.join();
  });
}

TEST(Runtime, TheDestructorStopsAndAwaitsLivingFibers) {
  std::atomic<bool> cancelled{false};
  {
    Runtime runtime = make();
    runtime
        .spawn("long sleeper",
               [&] {
                 auto slept = sleep_for(std::chrono::hours(1));
                 cancelled = !slept && slept.error() == Errc::kCancelled;
               })
        .detach();
  }
  EXPECT_TRUE(cancelled);
}

TEST(Runtime, JoinWithADeadlineTimesOut) {
  Runtime runtime = make();
  runtime.block_on([] {
    Fiber slow = spawn("slow", [] { (void)sleep_for(std::chrono::hours(1)); });
    auto waited = slow.wait_until(Deadline::after(1ms));
    ASSERT_FALSE(waited);
    EXPECT_EQ(waited.error(), Errc::kTimedOut);
    slow.request_stop();
    slow.join();
  });
}

TEST(Runtime, WithoutARuntimeSpawnStartsAThread) {
  bool ran = false;
  Fiber fiber = spawn("stand-in", [&] { ran = !on_fiber(); });
  fiber.join();
  EXPECT_TRUE(ran);
  EXPECT_TRUE(sleep_for(1us).has_value());
  yield();
}

TEST(Runtime, RunsWithoutIoUringToo) {
  auto runtime = Runtime::create({.workers = 2, .use_io_uring = false});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    (void)sleep_for(1ms);
    std::vector<Fiber> fibers;
    for (int i = 0; i < 100; ++i) fibers.push_back(spawn("f", [] { yield(); }));
    for (auto& fiber : fibers) fiber.join();
  });
}

}  // namespace
}  // namespace weft::sched
