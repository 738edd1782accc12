#include "sched/waiter.h"

#include <gtest/gtest.h>

#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/runtime.h"

namespace weft::sched {
namespace {

template <typename Test>
void on_a_fiber(Test&& test) {
  auto runtime = Runtime::create({.workers = 1});
  ASSERT_TRUE(runtime.has_value());
  runtime->block_on(test);
}

void end(Waiter& waiter, Outcome outcome) {
  if (waiter.claim(outcome)) waiter.resume();
}

TEST(Waiter, OneIsEndedOnceAndTheNextIsAnother) {
  on_a_fiber([] {
    for (int i = 0; i < 3; ++i) {
      Waiter waiter;
      Fiber other = spawn("ends it", [&] { end(waiter, Outcome::kNotified); });
      EXPECT_EQ(waiter.park("test"), Outcome::kNotified);
      EXPECT_FALSE(waiter.claim(Outcome::kTimedOut));
      other.join();
    }
  });
}

TEST(Waiter, OneMadeInsideAnotherIsAWaitOfItsOwn) {
  on_a_fiber([] {
    Waiter outer;
    Fiber ends_outer;
    {
      Waiter inner;
      EXPECT_TRUE(outer.claim(Outcome::kHandedOver));
      Fiber ends_inner = spawn("ends the inner one", [&] { end(inner, Outcome::kNotified); });
      EXPECT_EQ(inner.park("test"), Outcome::kNotified);
      ends_inner.join();
    }
    ends_outer = spawn("ends the outer one", [&] { outer.resume(); });
    EXPECT_EQ(outer.park("test", Deadline::never(), true), Outcome::kHandedOver);
    ends_outer.join();
  });
}

TEST(Waiter, AStopRequestEndsTheWaitThatIsThenAndNoOther) {
  on_a_fiber([] {
    Outcome first = Outcome::kPending;
    Outcome second = Outcome::kPending;
    Outcome third = Outcome::kPending;
    Waiter* deaf = nullptr;
    Fiber stopped = spawn("is stopped", [&] {
      first = Waiter().park("test", Deadline::never(), true);
      Waiter waiter;
      deaf = &waiter;
      second = waiter.park("test");  // is not to be cancelled
      third = Waiter().park("test", Deadline::never(), true);
    });
    yield();
    stopped.request_stop();
    while (deaf == nullptr) yield();
    stopped.request_stop();
    yield();
    EXPECT_EQ(first, Outcome::kCancelled);
    EXPECT_EQ(second, Outcome::kPending);
    end(*deaf, Outcome::kNotified);
    stopped.join();
    EXPECT_EQ(second, Outcome::kNotified);
    EXPECT_EQ(third, Outcome::kCancelled);
  });
}

}  // namespace
}  // namespace weft::sched
