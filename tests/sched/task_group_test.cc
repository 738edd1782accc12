#include "sched/task_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>

#include "sched/runtime.h"
#include "sched/task.h"

namespace weft::sched {
namespace {

Runtime make() { return std::move(*Runtime::create({.workers = 2})); }

TEST(TaskGroup, JoinsAllItsTasks) {
  Runtime runtime = make();
  runtime.block_on([] {
    std::atomic<int> ran{0};
    TaskGroup group;
    for (int i = 0; i < 50; ++i)
      group.spawn("task", [&]() -> Status {
        yield();
        ++ran;
        return {};
      });
    EXPECT_TRUE(group.join().has_value());
    EXPECT_EQ(ran, 50);
  });
}

TEST(TaskGroup, OneThatFailsStopsItsSiblings) {
  Runtime runtime = make();
  runtime.block_on([] {
    std::atomic<int> stopped{0};
    TaskGroup group;
    for (int i = 0; i < 5; ++i)
      group.spawn("sleeper", [&]() -> Status {
        auto slept = sleep_for(std::chrono::hours(1));
        if (!slept) ++stopped;
        return slept;
      });
    group.spawn("failing", []() -> Status { return fail(Errc::kChecksum); });
    auto joined = group.join();
    ASSERT_FALSE(joined);
    EXPECT_EQ(joined.error(), Errc::kChecksum);
    EXPECT_EQ(stopped, 5);
  });
}

TEST(TaskGroup, StoppingTheOneThatJoinsStopsTheTasks) {
  Runtime runtime = make();
  runtime.block_on([] {
    Status joined;
    Fiber parent = spawn("parent", [&] {
      TaskGroup group;
      group.spawn("sleeper", [] { return sleep_for(std::chrono::hours(1)); });
      joined = group.join();
    });
    (void)sleep_for(std::chrono::milliseconds(1));
    parent.request_stop();
    parent.join();
    ASSERT_FALSE(joined);
    EXPECT_EQ(joined.error(), Errc::kCancelled);
  });
}

TEST(TaskGroup, TheDestructorStopsAndJoins) {
  Runtime runtime = make();
  std::atomic<bool> ended{false};
  runtime.block_on([&] {
    TaskGroup group;
    group.spawn("sleeper", [&]() -> Status {
      (void)sleep_for(std::chrono::hours(1));
      ended = true;
      return {};
    });
  });
  EXPECT_TRUE(ended);
}

TEST(TaskGroup, AnExceptionOfATaskIsThrownByJoin) {
  Runtime runtime = make();
  runtime.block_on([] {
    TaskGroup group;
    group.spawn("thrower", []() -> Status { throw std::runtime_error("x"); });
    EXPECT_THROW((void)group.join(), std::runtime_error);
  });
}

TEST(Task, BringsBackItsValueOrException) {
  Runtime runtime = make();
  runtime.block_on([] {
    auto text = start("text", [] { return std::string("from the fiber"); });
    auto bad = start("bad", []() -> int { throw 5; });
    EXPECT_EQ(text.join(), "from the fiber");
    EXPECT_THROW(bad.join(), int);
  });
}

}  // namespace
}  // namespace weft::sched
