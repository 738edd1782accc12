// The fiber that a worker runs next, which another may take when the worker is held (Worker::swap_next(), acknowledge_raid() and
// raid() in sched/worker_queues.cc), in every interleaving: each is run as often as it was put there. A change there wants the same
// change here; the lines that the model stands for are quoted.
#include <gtest/gtest.h>

#include "tests/sched/exploration_expect.h"

namespace weft::sched::model {
namespace {

// What a planted mistake leaves out.
enum class Mistake { kNone, kHeavyFence, kOneRaidAtATime, kWhatCameLater };

struct Next {
  static constexpr int kFibers = 3;  // numbered from 1

  Next(Machine& on, Mistake left_out) : machine(on), mistake(left_out) {
    for (Cell& fiber : put) fiber = machine.cell("times put");
    for (Cell& fiber : ran) fiber = machine.cell("times run");
  }

  // Worker::swap_next(). Only the owner writes next_.
  Steps<int> swap_next(Thread& t, int fiber) {
    if (fiber != 0) ++machine.value(put[fiber]);
    // FiberState* before = next_.load(std::memory_order_relaxed);
    const int before = t.mine(next_);
    if (before == 0 && fiber == 0) co_return 0;
    // next_.store(fiber, std::memory_order_release);  light_fence();
    co_await t.store(next_, fiber, kRelease);
    // if (raided_.load(std::memory_order_relaxed)) return acknowledge_raid(before, fiber);
    const int raided = co_await t.load(raided_, kRelaxed);
    if (raided == 0) co_return before;
    co_return co_await acknowledge_raid(t, before, fiber);
  }

  Steps<int> acknowledge_raid(Thread& t, int before, int fiber) {
    co_await t.lock(raid_lock_);
    // const FiberState* took = std::exchange(raid_took_, nullptr);
    const int took = machine.value(raid_took_);
    machine.value(raid_took_) = 0;
    co_await t.store(raided_, 0, kRelaxed);
    int mine = before;
    if (took != 0 && took == before) {
      mine = 0;
    } else if (took != 0) {
      // WEFT_CHECK(took == put);
      machine.expect(took == fiber, "a raider took what was not there");
      if (mistake != Mistake::kWhatCameLater) co_await t.store(next_, 0, kRelaxed);
    }
    co_await t.unlock(raid_lock_);
    co_return mine;
  }

  // Worker::raid()
  Steps<int> raid(Thread& t) {
    co_await t.lock(raid_lock_);
    // if (raid_took_ != nullptr) return nullptr;
    if (machine.value(raid_took_) != 0 && mistake != Mistake::kOneRaidAtATime) {
      co_await t.unlock(raid_lock_);
      co_return 0;
    }
    // raided_.store(true, std::memory_order_relaxed);
    co_await t.store(raided_, 1, kRelaxed);
    // FiberState* there = heavy_fence() ? next_.load(std::memory_order_acquire) : nullptr;
    co_await t.fence();
    if (mistake != Mistake::kHeavyFence) co_await t.barrier();
    const int there = co_await t.load(next_, kAcquire);
    machine.value(raid_took_) = there;
    // if (there == nullptr) raided_.store(false, std::memory_order_relaxed);
    if (there == 0) co_await t.store(raided_, 0, kRelaxed);
    co_await t.unlock(raid_lock_);
    co_return there;
  }

  void run(const Thread& t, int fiber) {
    if (fiber == 0) return;
    machine.note(t, "runs fiber", fiber);
    machine.expect(++machine.value(ran[fiber]) <= machine.value(put[fiber]), "a fiber runs twice");
  }

  Machine& machine;
  const Mistake mistake;
  const Cell next_ = machine.cell("next_");
  const Cell raided_ = machine.cell("raided_");
  const Cell raid_lock_ = machine.cell("raid_lock_");
  const Cell raid_took_ = machine.cell("raid_took_");
  const Cell parked = machine.cell("parked elsewhere");
  Cell put[kFibers + 1];
  Cell ran[kFibers + 1];
};

// The owner puts two fibers, one over the other, takes what is there, and wakes what has run and parked elsewhere meanwhile: the
// same fiber may so be there again before the owner knows that it was gone.
Exploration raids(Memory memory, Mistake mistake, int raiders) {
  return explore(memory, [=](Machine& machine) {
    machine.stores_are_steps();
    auto& next = machine.keep<Next>(machine, mistake);
    machine.thread("owner", [&next](Thread& t) -> Steps<> {
      int fiber = 0;
      for (const int what : {1, 2, 0, 3}) {
        fiber = co_await next.swap_next(t, what);
        next.run(t, fiber);
        t.settle(what);
        if (what != 2 && what != 3) continue;
        const int woken = co_await t.exchange(next.parked, 0, kAcqRel);
        if (woken != 0) {
          fiber = co_await next.swap_next(t, woken);
          next.run(t, fiber);
        }
        t.settle(10 + what);
      }
      fiber = co_await next.swap_next(t, 0);
      next.run(t, fiber);
    });
    for (int i = 0; i < raiders; ++i)
      machine.thread(i == 0 ? "raider 1" : "raider 2", [&next, raiders](Thread& t) -> Steps<> {
        for (int left = 3 - raiders; left > 0; --left) {
          t.settle(left);
          const int fiber = co_await next.raid(t);
          next.run(t, fiber);
          if (fiber != 0) co_await t.compare_exchange(next.parked, 0, fiber, kAcqRel);
        }
      });
    machine.at_end([&next, &machine] {
      for (int fiber = 1; fiber <= Next::kFibers; ++fiber)
        machine.expect(machine.value(next.ran[fiber]) == machine.value(next.put[fiber]), "a fiber is lost");
    });
  });
}

TEST(RaidModel, WhatIsNextRunsOnceWhoeverTakesIt) {
  expect_holds("1 raider, store buffers", raids(Memory::kStoreBuffers, Mistake::kNone, 1));
  expect_holds("1 raider, reordered stores", raids(Memory::kReorderedStores, Mistake::kNone, 1));
  expect_holds("2 raiders, store buffers", raids(Memory::kStoreBuffers, Mistake::kNone, 2));
}

TEST(RaidModel, MistakesAreFound) {
  const Exploration found = raids(Memory::kStoreBuffers, Mistake::kHeavyFence, 1);
  print("a raid without the barrier", found);
  EXPECT_EQ(found.failure, "a fiber runs twice");
  EXPECT_EQ(raids(Memory::kSequential, Mistake::kHeavyFence, 1).failure, "");
  EXPECT_NE(raids(Memory::kSequential, Mistake::kOneRaidAtATime, 1).failure, "");
  EXPECT_NE(raids(Memory::kSequential, Mistake::kWhatCameLater, 1).failure, "");
}

}  // namespace
}  // namespace weft::sched::model
