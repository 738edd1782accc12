#include "sched/task_group.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <stop_token>
#include <string>

#include "sched/runtime.h"
#include "sched/simulation.h"
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

TEST(TaskGroup, BringsValuesAndTakesTasksThatReturnNothing) {
  Runtime runtime = make();
  runtime.block_on([] {
    TaskGroup group;
    std::atomic<bool> ran{false};
    auto number = group.start("number", [] { return 4; });
    auto text = group.start("text", []() -> Result<std::string> { return "words"; });
    group.spawn("nothing", [&] { ran = true; });
    ASSERT_TRUE(group.join().has_value());
    EXPECT_EQ(*number, 4);
    EXPECT_EQ(text->size(), 5U);
    EXPECT_TRUE(ran);
    (void)group.start("fails", []() -> Result<int> { return fail(Errc::kIo); });
    EXPECT_EQ(group.join().error(), Errc::kIo);
  });
}

TEST(TaskGroup, ATaskSpawnedAfterTheFailureIsAskedToStop) {
  Runtime runtime = make();
  runtime.block_on([] {
    TaskGroup group;
    group.cancel();
    EXPECT_TRUE(group.cancelled());
    bool asked = false;
    group.spawn("late", [&] { asked = stop_requested(); });
    EXPECT_TRUE(group.join().has_value());
    EXPECT_TRUE(asked);
    EXPECT_FALSE(group.cancelled()) << "as new";
    group.spawn("again", [&] { asked = stop_requested(); });
    EXPECT_TRUE(group.join().has_value());
    EXPECT_FALSE(asked);
  });
}

TEST(TaskGroup, TasksSpawnTasksAndGroupsNest) {
  Runtime runtime = make();
  std::atomic<int> leaves{0};
  std::function<Status(int)> tree = [&](int depth) -> Status {
    return with_task_group([&](TaskGroup& group) {
      for (int i = 0; i < 3; ++i) {
        if (depth == 0) {
          ++leaves;
        } else {
          group.spawn("subtree", [&, depth] { return tree(depth - 1); });
        }
      }
    });
  };
  runtime.block_on([&] {
    EXPECT_TRUE(tree(4).has_value());
    EXPECT_EQ(leaves, 243);
    TaskGroup group;
    group.spawn("parent", [&] { group.spawn("child", [&] { ++leaves; }); });
    EXPECT_TRUE(group.join().has_value());
    EXPECT_EQ(leaves, 244);
  });
}

TEST(TaskGroup, AFailureDeepInsideStopsAllGroupsAround) {
  Runtime runtime = make();
  runtime.block_on([] {
    std::atomic<int> stopped{0};
    const auto sleeper = [&]() -> Status {
      auto slept = sleep_until(Deadline::never());
      if (!slept) ++stopped;
      return slept;
    };
    const Status ended = with_task_group([&](TaskGroup& outer) {
      outer.spawn("sleeper", sleeper);
      outer.spawn("inner group", [&]() -> Status {
        return with_task_group([&](TaskGroup& inner) {
          inner.spawn("sleeper", sleeper);
          inner.spawn("failing", []() -> Status { return fail(Errc::kIo); });
        });
      });
    });
    EXPECT_EQ(ended.error(), Errc::kIo);
    EXPECT_EQ(stopped, 2);
  });
}

TEST(TaskGroup, AStopOfItsTokenStopsTheTasks) {
  Runtime runtime = make();
  runtime.block_on([] {
    std::stop_source source;
    TaskGroup group(source.get_token());
    for (int i = 0; i < 3; ++i) group.spawn("sleeper", [] { return sleep_until(Deadline::never()); });
    yield();
    source.request_stop();
    EXPECT_EQ(group.join().error(), Errc::kCancelled);
  });
}

TEST(TaskGroup, AtTheDeadlineOfItsJoinTheTasksAreStoppedAndAwaited) {
  Runtime runtime = make();
  runtime.block_on([] {
    TaskGroup group;
    std::atomic<bool> ended{false};
    group.spawn("sleeper", [&]() -> Status {
      auto slept = sleep_until(Deadline::never());
      yield();
      ended = true;
      return slept;
    });
    EXPECT_EQ(group.join_until(Deadline::after(std::chrono::milliseconds(2))).error(), Errc::kTimedOut);
    EXPECT_TRUE(ended);
  });
}

TEST(TaskGroup, WhatTheBodyOfAGroupThrowsOrReturnsStopsIt) {
  Runtime runtime = make();
  runtime.block_on([] {
    std::atomic<int> stopped{0};
    const auto sleeper = [&] { stopped += sleep_until(Deadline::never()) ? 0 : 1; };
    EXPECT_THROW((void)with_task_group([&](TaskGroup& group) {
                   group.spawn("sleeper", sleeper);
                   throw 3;
                 }),
                 int);
    EXPECT_EQ(with_task_group([&](TaskGroup& group) -> Status {
                group.spawn("sleeper", sleeper);
                return fail(Errc::kNotFound);
              }).error(),
              Errc::kNotFound);
    EXPECT_EQ(stopped, 2);
  });
}

TEST(TaskGroup, OneThatLivesLongDoesNotKeepTheFibersThatHaveEnded) {
  Runtime runtime = make();
  runtime.block_on([] {
    TaskGroup group;
    auto counted = std::make_shared<int>(0);
    for (int i = 0; i < 2000; ++i) {
      group.spawn("short", [counted] {});
      if (i % 10 == 9) (void)sleep_for(std::chrono::microseconds(1));
      ASSERT_LT(counted.use_count(), 1900);
    }
    EXPECT_TRUE(group.join().has_value());
    EXPECT_EQ(counted.use_count(), 1);
  });
}

TEST(TaskGroup, FailuresAndStopsAtAllMomentsInASimulation) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    Simulation simulation(seed);
    const Status ended = simulation.run([seed] {
      std::stop_source source;
      int ran = 0;
      Fiber parent = spawn("parent", [&] {
        TaskGroup group(source.get_token());
        for (int i = 0; i < 5; ++i)
          group.spawn("task", [&, i]() -> Status {
            ++ran;
            auto slept = sleep_for(std::chrono::nanoseconds(i * 10));
            if (i == 3 && seed % 3 == 0) return fail(Errc::kChecksum);
            if (i == 2 && seed % 3 == 1) throw 7;
            return slept;
          });
        try {
          const Status joined = group.join_until(Deadline::after(std::chrono::nanoseconds(seed % 60)));
          EXPECT_TRUE(joined || joined.error() != Errc::kInternal);
        } catch (int thrown) {
          EXPECT_EQ(thrown, 7);
        }
        EXPECT_EQ(ran, 5);
      });
      (void)sleep_for(std::chrono::nanoseconds(seed % 50));
      if (seed % 5 == 0) source.request_stop();
      if (seed % 5 == 1) parent.request_stop();
      parent.join();
    });
    ASSERT_TRUE(ended.has_value()) << "seed " << seed << ": " << ended.error().message();
  }
}

TEST(Task, BringsBackReferencesAndNothing) {
  Runtime runtime = make();
  runtime.block_on([] {
    int place = 3;
    Task<int&> reference = start("reference", [&]() -> int& { return place; });
    Task<void> nothing = start("nothing", [&] { place = 4; });
    Task<void> bad = start("bad", [] { throw 5; });
    nothing.join();
    EXPECT_EQ(&reference.join(), &place);
    EXPECT_EQ(place, 4);
    EXPECT_THROW(bad.join(), int);
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
