#include "sched/coroutine.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sched/current.h"
#include "sched/runtime.h"
#include "sched/semaphore.h"
#include "sched/simulation.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

Async<int> number(int value) { co_return value; }

Async<std::unique_ptr<int>> doubled(int value) {
  const int first = co_await number(value);
  const int second = co_await start("second", [value] {
    yield();
    return value;
  });
  co_return std::make_unique<int>(first + second);
}

Async<> throws_after(Fiber fiber) {
  co_await std::move(fiber);
  throw std::runtime_error("after");
}

Async<int> sum_to(int count) {
  int sum = 0;
  for (int i = 1; i <= count; ++i) sum += co_await number(i);
  co_return sum;
}

TEST(Coroutine, AFiberAwaitsACoroutineThatAwaitsFibers) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  const auto check = [] {
    EXPECT_EQ(await(number(3)), 3);
    EXPECT_EQ(*await(doubled(21)), 42);
    EXPECT_EQ(await(sum_to(10000)), 50005000) << "a loop of awaits needs no stack";
  };
  runtime->block_on(check);
  check();  // on plain threads
  Simulation simulation(1);
  ASSERT_TRUE(simulation.run(check).has_value());
}

TEST(Coroutine, ExceptionsComeOutOfTheAwait) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    EXPECT_THROW(await(throws_after(spawn("fine", [] {}))), std::runtime_error);
    EXPECT_THROW(await(throws_after(spawn("bad", [] { throw 5; }))), int) << "the fiber's own";
    EXPECT_THROW(await(start("bad too", []() -> int { throw std::string("x"); })), std::string);
  });
}

TEST(Coroutine, RunsOnAFiberOfItsOwnAndReferencesStayReferences) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    int place = 1;
    const auto refers = [](int& to) -> Async<int&> { co_return to; };
    Task<int&> task = start("coroutine", refers(place));
    int& same = task.join();
    EXPECT_EQ(&same, &place);
    EXPECT_EQ(&await(refers(place)), &place);
    Task<void> nothing = start("nothing", [] {});
    await(std::move(nothing));
  });
}

TEST(Coroutine, GoesOnWhereItIsTold) {
  auto first = Runtime::create({.name = "first", .workers = 1});
  auto second = Runtime::create({.name = "second", .workers = 2});
  ASSERT_TRUE(first.has_value() && second.has_value());
  const auto travels = [](Runtime& to, Runtime& back) -> Async<unsigned> {
    co_await resume_on(to);
    EXPECT_TRUE(on_fiber());
    const unsigned there = worker_count();
    (void)sleep_for(1us);  // may park: it is on a fiber
    co_await resume_on(back);
    EXPECT_EQ(worker_count(), 1U);
    co_return there;
  };
  EXPECT_EQ(await(travels(*second, *first)), 2U);
}

// An awaitable of somebody else's: resumed by a plain thread.
struct ByThread {
  std::thread* thread;
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) const {
    *thread = std::thread([awaiting] { awaiting.resume(); });
  }
  int await_resume() const noexcept { return 8; }
};

TEST(Coroutine, AnyAwaitableCanBeAwaited) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  std::thread thread;
  runtime->block_on([&] {
    std::atomic<bool> other_ran{false};
    Fiber other = spawn("other", [&] { other_ran = true; });
    EXPECT_EQ(await(ByThread{&thread}), 8);
    other.join();
    EXPECT_TRUE(other_ran) << "the worker was free meanwhile";
  });
  thread.join();
}

TEST(Coroutine, OneNeverAwaitedIsDestroyedUnstarted) {
  auto counted = std::make_shared<int>(0);
  const auto holds = [](std::shared_ptr<int> held) -> Async<int> { co_return *held; };
  {
    auto never = holds(counted);
    EXPECT_EQ(counted.use_count(), 2);
  }
  EXPECT_EQ(counted.use_count(), 1);
}

TEST(Coroutine, ManyAtOnce) {
  auto runtime = Runtime::create({.workers = 2});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on([] {
    std::vector<Task<std::unique_ptr<int>>> tasks;
    for (int i = 0; i < 300; ++i) tasks.push_back(start("many", doubled(i)));
    for (int i = 0; i < 300; ++i) EXPECT_EQ(*tasks[static_cast<std::size_t>(i)].join(), 2 * i);
  });
}

}  // namespace
}  // namespace weft::sched
