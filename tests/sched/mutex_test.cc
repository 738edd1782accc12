#include "sched/mutex.h"

#include <gtest/gtest.h>

#include <mutex>
#include <shared_mutex>
#include <thread>
#include <vector>

#include "sched/runtime.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(Mutex, ExcludesFibersAndThreads) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Mutex mutex;
  std::int64_t count = 0;
  const auto work = [&] {
    for (int i = 0; i < 3000; ++i) {
      const std::lock_guard guard(mutex);
      const auto seen = count;
      if (i % 64 == 0) yield();
      count = seen + 1;
    }
  };
  std::vector<Fiber> fibers;
  for (int i = 0; i < 6; ++i) fibers.push_back(runtime->spawn("locker", work));
  std::thread thread(work);
  for (auto& fiber : fibers) fiber.join();
  thread.join();
  EXPECT_EQ(count, 21000);
}

TEST(Mutex, ADeadlineEndsTheWaitAndTheMutexStaysUsable) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    Mutex mutex;
    mutex.lock();
    Fiber waiter = spawn("waiter", [&] {
      EXPECT_FALSE(mutex.try_lock_for(1ms));
      EXPECT_FALSE(mutex.try_lock());
    });
    waiter.join();
    mutex.unlock();
    EXPECT_TRUE(mutex.try_lock_for(1ms));
    mutex.unlock();
  });
  Mutex mutex;
  mutex.lock();
  std::thread([&] { EXPECT_FALSE(mutex.try_lock_for(1ms)); }).join();
  mutex.unlock();
}

TEST(Mutex, TimeoutsAndHandoversDoNotLoseTheLock) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  Mutex mutex;
  int inside = 0;
  std::vector<Fiber> fibers;
  for (int f = 0; f < 8; ++f) {
    fibers.push_back(runtime->spawn("impatient", [&, f] {
      for (int i = 0; i < 300; ++i) {
        if (!mutex.try_lock_for(std::chrono::microseconds((i * 7 + f) % 40))) continue;
        EXPECT_EQ(++inside, 1);
        if (i % 8 == 0) yield();
        --inside;
        mutex.unlock();
      }
    }));
  }
  for (auto& fiber : fibers) fiber.join();
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(SharedMutex, ReadersShareAndWritersExclude) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  SharedMutex mutex;
  std::atomic<int> readers{0};
  std::atomic<int> writers{0};
  std::atomic<int> most_readers{0};
  const auto work = [&](int seed) {
    for (int i = 0; i < 500; ++i) {
      if ((i + seed) % 4 == 0) {
        const std::lock_guard guard(mutex);
        EXPECT_EQ(writers.fetch_add(1), 0);
        EXPECT_EQ(readers, 0);
        if (i % 16 == 0) yield();
        writers.fetch_sub(1);
      } else {
        const std::shared_lock guard(mutex);
        const int now_reading = readers.fetch_add(1) + 1;
        if (now_reading > most_readers) most_readers = now_reading;
        EXPECT_EQ(writers, 0);
        if (i % 8 == 0) yield();
        readers.fetch_sub(1);
      }
    }
  };
  std::vector<Fiber> fibers;
  for (int i = 0; i < 8; ++i) fibers.push_back(runtime->spawn("rw", [&, i] { work(i); }));
  std::thread thread([&] { work(99); });
  for (auto& fiber : fibers) fiber.join();
  thread.join();
  EXPECT_GT(most_readers, 1);
  EXPECT_TRUE(mutex.try_lock());
  mutex.unlock();
}

TEST(SharedMutex, AWaitingWriterIsNotOvertakenByReaders) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    SharedMutex mutex;
    std::vector<char> order;
    mutex.lock_shared();
    Fiber writer = spawn("writer", [&] {
      mutex.lock();
      order.push_back('w');
      mutex.unlock();
    });
    while (mutex.try_lock_shared()) {
      mutex.unlock_shared();
      yield();
    }
    Fiber reader = spawn("reader", [&] {
      mutex.lock_shared();
      order.push_back('r');
      mutex.unlock_shared();
    });
    yield();
    mutex.unlock_shared();
    writer.join();
    reader.join();
    EXPECT_EQ(order, (std::vector<char>{'w', 'r'}));
  });
}

TEST(SharedMutex, AWriterThatGivesUpLetsReadersIn) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    SharedMutex mutex;
    mutex.lock_shared();
    Fiber writer = spawn("writer", [&] { EXPECT_FALSE(mutex.try_lock_for(3ms)); });
    while (mutex.try_lock_shared()) {
      mutex.unlock_shared();
      yield();
    }
    mutex.lock_shared();  // waits behind the writer until that gives up
    mutex.unlock_shared();
    mutex.unlock_shared();
    writer.join();
    EXPECT_TRUE(mutex.try_lock());
    mutex.unlock();
  });
}

TEST(Mutex, WorksWithTheStandardsLocksAndClocks) {
  using namespace std::chrono_literals;
  Mutex first;
  Mutex second;
  SharedMutex shared;
  {
    const std::scoped_lock all(first, second, shared);
    EXPECT_FALSE(first.try_lock_for(std::chrono::duration<double>(0.001)));
    EXPECT_FALSE(second.try_lock_until(std::chrono::steady_clock::now() + 1ms));
    EXPECT_FALSE(shared.try_lock_shared_until(SteadyClock::now() + 1ms));
    EXPECT_FALSE(shared.try_lock_for(1ms));
  }
  const std::unique_lock timed(first, 1ms);
  EXPECT_TRUE(timed.owns_lock());
  const std::shared_lock reader(shared, std::chrono::system_clock::now() + 1s);
  EXPECT_TRUE(reader.owns_lock());
  EXPECT_TRUE(shared.try_lock_shared_for(std::chrono::hours::max())) << "too long to count is for ever, and it is free";
  shared.unlock_shared();
}

}  // namespace
}  // namespace weft::sched
