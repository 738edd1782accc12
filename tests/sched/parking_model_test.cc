// Workers that go to sleep and are woken, in every interleaving, by the model in idling_model.h.
#include <gtest/gtest.h>

#include "tests/sched/exploration_expect.h"
#include "tests/sched/idling_model.h"

namespace weft::sched::model {
namespace {

using Mistake = Idling::Mistake;

// One queues work and comes to none of it himself; one goes from its search to sleep.
Exploration one_sleeper(Memory memory, Mistake mistake, bool searching) {
  return explore(memory, [=](Machine& machine) {
    machine.stores_are_steps();
    auto& idling = machine.keep<Idling>(machine, mistake, Fence::kLight);
    machine.value(idling.idle_) = searching ? kSearchingOne : 0;
    machine.thread("producer", [&idling](Thread& t) { return idling.queue(t, 0); });
    machine.thread("worker", [&idling, searching](Thread& t) { return idling.find_work(t, 0, searching); });
    machine.at_end(
        [&idling, &machine] { machine.expect(machine.value(idling.idle_) == 0, "idle_ is wrong at the end"); });
  });
}

TEST(ParkingModel, AWorkerDoesNotSleepOverWhatIsQueued) {
  for (const bool searching : {true, false}) {
    expect_holds("a worker goes to sleep, sequential", one_sleeper(Memory::kSequential, Mistake::kNone, searching));
    expect_holds("a worker goes to sleep, store buffers",
                 one_sleeper(Memory::kStoreBuffers, Mistake::kNone, searching));
    expect_holds("a worker goes to sleep, reordered stores",
                 one_sleeper(Memory::kReorderedStores, Mistake::kNone, searching));
  }
}

TEST(ParkingModel, WithoutTheSecondLookOrTheBarrierAWakeUpIsLost) {
  constexpr const char* kLost = "nothing can happen any more: worker waits for eventfd of 0";
  expect_found("no second look", one_sleeper(Memory::kSequential, Mistake::kNoSecondLook, true), kLost);
  expect_found("the look too early", one_sleeper(Memory::kSequential, Mistake::kLooksBeforeAsleep, true), kLost);
  // The store of the work stays in the producer's buffer while it looks at idle_; only with buffers is that wrong.
  EXPECT_EQ(one_sleeper(Memory::kSequential, Mistake::kNoHeavyFence, true).failure, "");
  expect_found("no barrier", one_sleeper(Memory::kStoreBuffers, Mistake::kNoHeavyFence, true), kLost);
}

// The same of a worker that sleeps for a device. Who queues comes to it himself or, as a thread that is no worker, does not.
Exploration sleeper_for_device(Memory memory, Fence fence, bool producer_works) {
  return explore(memory, [=](Machine& machine) {
    machine.stores_are_steps();
    auto& idling = machine.keep<Idling>(machine, Mistake::kNone, fence);
    idling.for_device = true;
    machine.thread("producer", [&idling, producer_works](Thread& t) -> Steps<> {
      co_await idling.queue(t, 0);
      if (producer_works) co_await idling.take(t);
    });
    machine.thread("worker", [&idling](Thread& t) { return idling.find_work(t, 0, false); }).may_wait_forever();
    machine.at_end(
        [&idling, &machine] { machine.expect(machine.value(idling.work[0]) == 0, "work waits, and a worker sleeps"); });
  });
}

TEST(ParkingModel, AWorkerDoesNotSleepForADeviceOverWhatComesFromOutside) {
  using enum Memory;
  expect_holds("for a device, sequential", sleeper_for_device(kSequential, Fence::kFull, false));
  expect_holds("for a device, store buffers", sleeper_for_device(kStoreBuffers, Fence::kFull, false));
  expect_holds("for a device, reordered stores", sleeper_for_device(kReorderedStores, Fence::kFull, false));
  expect_found("for a device, a light fence", sleeper_for_device(kStoreBuffers, Fence::kLight, false), "work waits");
  expect_holds("for a device, another worker's own", sleeper_for_device(kStoreBuffers, Fence::kLight, true));
}

// What is posted to one worker: Worker::post(), and with it the end of the runtime (stopping_, then wake()).
Exploration post(Memory memory, Mistake mistake, bool for_device = false) {
  return explore(memory, [=](Machine& machine) {
    machine.stores_are_steps();
    auto& idling = machine.keep<Idling>(machine, mistake, Fence::kLight);
    idling.posts = true;
    idling.for_device = for_device;
    machine.value(idling.idle_) = kSearchingOne;
    machine.thread("poster", [&idling](Thread& t) -> Steps<> {
      co_await t.store(idling.inbox, 1, kRelease);
      co_await idling.wake(t, 0);
    });
    machine.thread("worker", [&idling](Thread& t) { return idling.find_work(t, 0, true); });
  });
}

TEST(ParkingModel, AWorkerDoesNotSleepOverWhatIsPostedToIt) {
  expect_holds("posted to a worker, sequential", post(Memory::kSequential, Mistake::kNone));
  expect_holds("posted to a worker, store buffers", post(Memory::kStoreBuffers, Mistake::kNone));
  expect_holds("posted to one that sleeps for a device", post(Memory::kStoreBuffers, Mistake::kNone, true));
  expect_found("posted to one that sleeps for a device, a light fence",
               post(Memory::kStoreBuffers, Mistake::kLightWake, true), "nothing can happen any more: worker waits");
  expect_found("posted, looked for too early", post(Memory::kSequential, Mistake::kLooksBeforeAsleep),
               "nothing can happen any more: worker waits");
}

// Two workers, one of which searches and one does not, and a producer that queues two things and then runs one itself, if it is
// still there: nothing is left, whoever sleeps.
Exploration two_workers(Memory memory, Mistake mistake) {
  return explore(memory, [=](Machine& machine) {
    machine.stores_are_steps();
    auto& idling = machine.keep<Idling>(machine, mistake, Fence::kLight);
    machine.value(idling.idle_) = kSearchingOne;
    machine.thread("producer", [&idling](Thread& t) -> Steps<> {
      co_await idling.queue(t, 0);
      t.settle(1);
      co_await idling.queue(t, 1);
      t.settle(2);
      co_await idling.take(t);
    });
    for (int me = 0; me < Idling::kMost; ++me)
      machine
          .thread(me == 0 ? "worker 0" : "worker 1",
                  [&idling, me](Thread& t) { return idling.find_work(t, me, me == 0); })
          .may_wait_forever();
    machine.at_end([&idling, &machine] {
      for (const Cell queue : idling.work) machine.expect(machine.value(queue) == 0, "work waits, and a worker sleeps");
      // Asleep for good: listed as often as it is counted.
      int listed = 0;
      for (int rest = machine.value(idling.idle_workers_); rest != 0; rest /= 4) ++listed;
      machine.expect(machine.value(idling.idle_) == listed, "idle_ is wrong at the end");
    });
  });
}

TEST(ParkingModel, TwoWorkersLeaveNothingWhileOneSleeps) {
  expect_holds("two workers, store buffers", two_workers(Memory::kStoreBuffers, Mistake::kNone));
  EXPECT_EQ(two_workers(Memory::kStoreBuffers, Mistake::kNoSecondLook).failure, "work waits, and a worker sleeps");
}

// One thing is queued while one worker is about to find another and the second one sleeps. notify_one() may leave it to the
// searcher, which then passes it on.
Exploration searcher_and_sleeper(Memory memory, Mistake mistake, Fence fence, bool producer_works) {
  return explore(memory, [=](Machine& machine) {
    machine.stores_are_steps();
    auto& idling = machine.keep<Idling>(machine, mistake, fence);
    machine.value(idling.idle_) = kSearchingOne + 1;
    machine.value(idling.idle_workers_) = 1 + 1;
    machine.value(idling.sleep_[1]) = kAsleep;
    machine.thread("producer", [&idling, producer_works](Thread& t) -> Steps<> {
      co_await idling.queue(t, 1);
      if (producer_works) co_await t.compare_exchange(idling.work[1], 1, 0, kAcqRel);
    });
    machine.thread("searcher", [&idling](Thread& t) { return idling.stop_searching(t); });
    machine
        .thread("sleeper",
                [&idling](Thread& t) -> Steps<> {
                  co_await t.wait_until(idling.event[1], 1);
                  co_await idling.take(t);
                })
        .may_wait_forever();
    machine.at_end(
        [&idling, &machine] { machine.expect(machine.value(idling.work[1]) == 0, "work waits, and a worker sleeps"); });
  });
}

TEST(ParkingModel, ASearcherThatFoundSomethingPassesTheRestOn) {
  using enum Memory;
  expect_holds("the last searcher looks", searcher_and_sleeper(kSequential, Mistake::kNone, Fence::kLight, false));
  expect_holds("the last searcher looks, full fences",
               searcher_and_sleeper(kStoreBuffers, Mistake::kNone, Fence::kFull, false));
  expect_found("the last searcher does not look",
               searcher_and_sleeper(kSequential, Mistake::kNoLastSearcher, Fence::kLight, false), "work waits");
}

// Known and accepted: see the comment in Scheduler::notify_one(). Whoever makes it wait for nobody may drop this test.
TEST(ParkingModel, WithTheLightFenceASearcherMayOverlookWhatItsProducerThenComesTo) {
  using enum Memory;
  expect_found("a searcher that has just found something",
               searcher_and_sleeper(kStoreBuffers, Mistake::kNone, Fence::kLight, false), "work waits");
  EXPECT_EQ(searcher_and_sleeper(kStoreBuffers, Mistake::kNone, Fence::kLight, true).failure, "");
}

}  // namespace
}  // namespace weft::sched::model
