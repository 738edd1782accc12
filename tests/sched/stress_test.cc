// tests/sched/stress_test.cc - the races that cost schedulers their reputation: lost wake-ups, migration, destruction.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "sched/condition_variable.h"
#include "sched/mutex.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "sched/task_group.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

// Workers fall asleep between the rounds; a wake-up that is lost hangs the test.
TEST(Stress, NoWakeUpFromOutsideIsLost) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  for (int i = 0; i < 600; ++i) {
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(i % 40));
    ASSERT_EQ(runtime->block_on([i] { return i; }), i);
  }
}

TEST(Stress, NoWakeUpBetweenWorkersIsLost) {
  auto runtime = Runtime::create({.workers = 3});
  ASSERT_TRUE(runtime.has_value());
  Semaphore ping(0);
  Semaphore pong(0);
  Fiber a = runtime->spawn_pinned(0, "a", [&] {
    for (int i = 0; i < 1000; ++i) {
      ping.release();
      ASSERT_TRUE(pong.acquire().has_value());
    }
  });
  Fiber b = runtime->spawn_pinned(2, "b", [&] {
    for (int i = 0; i < 1000; ++i) {
      ASSERT_TRUE(ping.acquire().has_value());
      pong.release();
    }
  });
  a.join();
  b.join();
}

TEST(Stress, FibersMigrateWhileTheyLockSleepAndSpawn) {
  auto runtime = Runtime::create({.workers = 4});
  ASSERT_TRUE(runtime.has_value());
  Mutex mutex;
  long inside = 0;
  std::atomic<long> leaves{0};
  runtime->block_on([&] {
    TaskGroup group;
    for (int f = 0; f < 60; ++f) {
      group.spawn("branch", [&, f]() -> Status {
        for (int i = 0; i < 20; ++i) {
          Fiber leaf = spawn("leaf", [&] {
            yield();
            leaves.fetch_add(1);
          });
          {
            const std::lock_guard guard(mutex);
            ++inside;
            if ((i + f) % 5 == 0) yield();
          }
          if ((i + f) % 7 == 0) TRY(sleep_for(std::chrono::microseconds(i)));
          leaf.join();
        }
        return {};
      });
    }
    ASSERT_TRUE(group.join().has_value());
  });
  EXPECT_EQ(inside, 1200);
  EXPECT_EQ(leaves, 1200);
}

// A fiber's wake-up, its deadline and a stop request race for it; exactly one must win, and none may touch it later.
TEST(Stress, NotifyDeadlineAndStopRace) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    std::uint64_t granted = 0;
    Semaphore semaphore(0);
    std::uint64_t released = 0;
    for (int i = 0; i < 300; ++i) {
      std::atomic<bool> got{false};
      Fiber waiter = spawn("waiter", [&, i] {
        got = semaphore.acquire(1, Deadline::after(std::chrono::microseconds(i % 30))).has_value();
      });
      if (i % 2 == 0) yield();
      if (i % 3 == 0) {
        semaphore.release();
        ++released;
      }
      if (i % 5 == 0) waiter.request_stop();
      waiter.join();
      if (got) ++granted;
    }
    EXPECT_EQ(semaphore.available() + granted, released);
  });
}

// The last one out deletes the mutex, as inodes do.
TEST(Stress, AMutexMayBeDestroyedByTheNextOwner) {
  struct Shared {
    Mutex mutex;
    int users = 3;
  };
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    for (int i = 0; i < 300; ++i) {
      auto* shared = new Shared;
      const auto leave = [shared] {
        bool last = false;
        {
          const std::lock_guard guard(shared->mutex);
          last = --shared->users == 0;
        }
        if (last) delete shared;
      };
      Fiber a = spawn("a", leave);
      Fiber b = spawn("b", leave);
      leave();
      a.join();
      b.join();
    }
  });
}

TEST(Stress, RuntimesComeAndGoWhileThreadsWakeTheirFibers) {
  for (int i = 0; i < 20; ++i) {
    Semaphore semaphore(0);
    auto runtime = std::make_unique<Runtime>(std::move(*Runtime::create({.workers = 2})));
    std::thread waker([&] { semaphore.release(); });
    runtime->spawn("waits", [&] { (void)semaphore.acquire(); }).detach();
    runtime.reset();
    waker.join();
  }
}

}  // namespace
}  // namespace weft::sched
