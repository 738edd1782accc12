// What spawn() promises on plain threads, without a runtime.
#include "sched/stand_in.h"

#include <gtest/gtest.h>

#include <vector>

#include "sched/channel.h"
#include "sched/fiber_local.h"
#include "sched/select.h"
#include "sched/semaphore.h"
#include "sched/stop.h"
#include "sched/task_group.h"

namespace weft::sched {
namespace {

using namespace std::chrono_literals;

TEST(StandIn, ARequestToStopEndsItsBlockingCalls) {
  EXPECT_EQ(current_stand_in(), nullptr);
  for (int round = 0; round < 50; ++round) {
    Channel<int> silent(0);
    Semaphore none(0);
    std::vector<Fiber> threads;
    threads.push_back(spawn("sleep", [] { EXPECT_EQ(sleep_until(Deadline::never()).error(), Errc::kCancelled); }));
    threads.push_back(spawn("receive", [&] { EXPECT_EQ(silent.receive().error(), Errc::kCancelled); }));
    threads.push_back(spawn("acquire", [&] {
      EXPECT_EQ(none.acquire(1, Deadline::after(1h)).error(), Errc::kCancelled);
      EXPECT_EQ(none.acquire().error(), Errc::kCancelled) << "and from now on";
      EXPECT_TRUE(stop_requested());
      EXPECT_TRUE(stop_token().stop_requested());
    }));
    threads.push_back(spawn(
        "select", [&] { EXPECT_EQ(select(on_receive(silent, [](const Result<int>&) {})).error(), Errc::kCancelled); }));
    if (round % 2 == 0) std::this_thread::sleep_for(200us);
    for (Fiber& thread : threads) thread.request_stop();
    for (Fiber& thread : threads) thread.join();
  }
  EXPECT_FALSE(stop_requested());
}

TEST(StandIn, AFailureStopsTheSiblingsInAGroup) {
  const Status ended = with_task_group([](TaskGroup& group) {
    group.spawn("sleeper", [] { return sleep_until(Deadline::never()); });
    group.spawn("failing", []() -> Status { return fail(Errc::kIo); });
  });
  EXPECT_EQ(ended.error(), Errc::kIo);
}

TEST(StandIn, HasFiberLocalsThatEndWithItsBody) {
  FiberLocal<int> inherited{kInherited};
  FiberLocal<std::shared_ptr<int>> own;
  *inherited = 5;
  auto counted = std::make_shared<int>(0);
  spawn("stand-in", [&] {
    EXPECT_EQ(*inherited, 5);
    *inherited = 6;
    *own = counted;
  }).join();
  EXPECT_EQ(counted.use_count(), 1);
  EXPECT_EQ(*inherited, 5);
}

}  // namespace
}  // namespace weft::sched
