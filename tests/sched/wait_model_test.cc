// A fiber or thread that waits, in every interleaving with those who end its wait, by the model in wait_model.h.
#include <gtest/gtest.h>

#include "tests/sched/exploration_expect.h"
#include "tests/sched/wait_model.h"

namespace weft::sched::model {
namespace {

using Mistake = Wait::Mistake;

// A fiber parks on one worker while an unlocker and a timer want to end the wait; another worker runs what is ready.
Exploration fiber_waits(Memory memory, Mistake mistake) {
  return explore(memory, [mistake](Machine& machine) {
    auto& wait = machine.keep<Wait>(machine, mistake);
    machine.thread("fiber and its worker", [&wait](Thread& t) { return wait.park(t); });
    machine.thread("unlocker", [&wait](Thread& t) { return wait.end_it(t, wait.queue_lock, wait.queued, kNotified); });
    machine.thread("timer", [&wait](Thread& t) { return wait.end_it(t, wait.timers_lock, wait.armed, kTimedOut); });
    machine.thread("other worker", [&wait](Thread& t) { return wait.run_when_ready(t); }).may_wait_forever();
    machine.at_end([&wait, &machine] {
      // Who comes before there is anybody in the queue or among the timers ends nothing.
      if ((machine.value(wait.word_) & kOutcome) == 0) return;
      machine.expect(machine.value(wait.runs) == 1, "a wake-up is lost");
    });
  });
}

TEST(WaitModel, AFiberThatWaitsRunsOnceWhoeverEndsTheWait) {
  expect_holds("a fiber's wait, sequential", fiber_waits(Memory::kSequential, Mistake::kNone));
  expect_holds("a fiber's wait, store buffers", fiber_waits(Memory::kStoreBuffers, Mistake::kNone));
  expect_holds("a fiber's wait, reordered stores", fiber_waits(Memory::kReorderedStores, Mistake::kNone));
}

TEST(WaitModel, MistakesInAFibersWaitAreFound) {
  constexpr auto kMemory = Memory::kStoreBuffers;
  expect_found("parked before it is saved", fiber_waits(kMemory, Mistake::kParksBeforeSaved),
               "a fiber runs whose context is not saved");
  expect_found("an early resume() overlooked", fiber_waits(kMemory, Mistake::kResumeOverlooked), "a wake-up is lost");
  expect_found("the timer left armed", fiber_waits(kMemory, Mistake::kTimerNotDisarmed), kGone);
  EXPECT_NE(fiber_waits(kMemory, Mistake::kResumesWithoutClaim).failure, "");
}

// The same fiber may be asked to stop, while an unlocker wants to end the wait. A late request must not end the fiber's next one.
Exploration fiber_is_stopped(Memory memory, Mistake mistake) {
  return explore(memory, [mistake](Machine& machine) {
    auto& wait = machine.keep<Wait>(machine, mistake);
    wait.cancellable = true;
    machine.thread("fiber and its worker", [&wait](Thread& t) { return wait.park(t); });
    machine.thread("unlocker", [&wait](Thread& t) { return wait.end_it(t, wait.queue_lock, wait.queued, kNotified); });
    machine.thread("who stops it", [&wait](Thread& t) { return wait.stop(t); });
    machine.thread("other worker", [&wait](Thread& t) { return wait.run_when_ready(t); }).may_wait_forever();
    machine.at_end([&wait, &machine] {
      machine.expect(machine.value(wait.runs) == 1, "a stop request is lost");
      machine.expect(machine.value(wait.word_) == kNextWait, "a stop request ends another wait");
    });
  });
}

TEST(WaitModel, AFiberThatIsAskedToStopRunsOnce) {
  expect_holds("a stopped wait, sequential", fiber_is_stopped(Memory::kSequential, Mistake::kNone));
  expect_holds("a stopped wait, store buffers", fiber_is_stopped(Memory::kStoreBuffers, Mistake::kNone));
  expect_holds("a stopped wait, reordered stores", fiber_is_stopped(Memory::kReorderedStores, Mistake::kNone));
}

TEST(WaitModel, MistakesAtAStopRequestAreFound) {
  expect_found("no look after the park", fiber_is_stopped(Memory::kSequential, Mistake::kNoLookAfterPark),
               "a stop request is lost");
  expect_found("a look before the request", fiber_is_stopped(Memory::kSequential, Mistake::kLooksBeforeStop),
               "a stop request is lost");
}

// A plain thread waits in a futex; time passes at any moment, and wakes it once as the kernel does.
Exploration thread_waits(Memory memory, Mistake mistake, bool unlocked, bool timed) {
  return explore(memory, [=](Machine& machine) {
    auto& wait = machine.keep<Wait>(machine, mistake);
    wait.is_thread = true;
    const Cell deadline = machine.cell("deadline passed");
    machine.value(wait.queued) = 1;
    machine.thread("thread", [&wait, deadline](Thread& t) { return wait.park_thread(t, deadline); });
    if (unlocked)
      machine.thread("unlocker",
                     [&wait](Thread& t) { return wait.end_it(t, wait.queue_lock, wait.queued, kNotified); });
    if (timed)
      machine
          .thread("clock",
                  [&wait, &machine, deadline](Thread& t) -> Steps<> {
                    co_await t.exchange(deadline, 1, kSeqCst);
                    // The kernel's timer fires for whoever sleeps now, and at once for who comes later.
                    for (;;) {
                      co_await t.wait_until(wait.asleep, 1);
                      co_await t.exchange(wait.asleep, 0, kSeqCst);
                      t.settle(1);
                    }
                  })
          .may_wait_forever();
  });
}

TEST(WaitModel, AThreadThatWaitsIsWokenOrTimesOut) {
  for (const Memory memory : {Memory::kSequential, Memory::kStoreBuffers, Memory::kReorderedStores}) {
    expect_holds("a thread's wait", thread_waits(memory, Mistake::kNone, true, false));
    expect_holds("a thread's wait with a deadline", thread_waits(memory, Mistake::kNone, true, true));
    EXPECT_EQ(thread_waits(memory, Mistake::kNone, false, true).failure, "");
  }
  expect_found("a thread that looks, then sleeps",
               thread_waits(Memory::kSequential, Mistake::kLooksThenSleeps, true, false),
               "nothing can happen any more: thread waits");
}

}  // namespace
}  // namespace weft::sched::model
