// The explorer itself, on the classic small programs of which it is known what each memory allows.
#include "tests/sched/explorer.h"

#include <gtest/gtest.h>

namespace weft::sched::model {
namespace {

// Dekker: each says that it comes, then looks whether the other does. Both enter if a store may be late, unless fences forbid it.
Exploration dekker(Memory memory, bool fences) {
  return explore(memory, [fences](Machine& machine) {
    const Cell wants[2] = {machine.cell("wants[0]"), machine.cell("wants[1]")};
    const Cell inside = machine.cell("inside");
    for (int me = 0; me < 2; ++me)
      machine.thread(me == 0 ? "first" : "second", [=, &machine](Thread& t) -> Steps<> {
        co_await t.store(wants[me], 1, kRelaxed);
        if (fences) co_await t.fence();
        const int other = co_await t.load(wants[1 - me], kRelaxed);
        if (other == 0) machine.expect(++machine.value(inside) == 1, "both are inside");
      });
  });
}

TEST(Explorer, AStoreThatIsLateLetsBothOfDekkersThreadsIn) {
  EXPECT_EQ(dekker(Memory::kSequential, false).failure, "");
  const Exploration late = dekker(Memory::kStoreBuffers, false);
  print("Dekker without fences", late);
  EXPECT_EQ(late.failure, "both are inside");
  EXPECT_EQ(late.trace.size(), 4U);  // two stores, two loads: the shortest there is
}

TEST(Explorer, FencesKeepOneOfDekkersThreadsOut) {
  EXPECT_EQ(dekker(Memory::kStoreBuffers, true).failure, "");
  EXPECT_EQ(dekker(Memory::kReorderedStores, true).failure, "");
}

// With the fence of one thread replaced by a barrier that reaches all, the other needs none.
Exploration asymmetric_dekker(bool barrier) {
  return explore(Memory::kStoreBuffers, [barrier](Machine& machine) {
    machine.stores_are_steps();
    const Cell wants[2] = {machine.cell("wants[0]"), machine.cell("wants[1]")};
    const Cell inside = machine.cell("inside");
    for (int me = 0; me < 2; ++me)
      machine.thread(me == 0 ? "light" : "heavy", [=, &machine](Thread& t) -> Steps<> {
        co_await t.store(wants[me], 1, kRelaxed);
        if (me == 1) co_await t.fence();
        if (me == 1 && barrier) co_await t.barrier();
        const int other = co_await t.load(wants[1 - me], kRelaxed);
        if (other == 0) machine.expect(++machine.value(inside) == 1, "both are inside");
      });
  });
}

TEST(Explorer, ABarrierOnAllThreadsStandsForTheFenceOfTheOther) {
  EXPECT_EQ(asymmetric_dekker(true).failure, "");
  EXPECT_EQ(asymmetric_dekker(false).failure, "both are inside");
}

Exploration message(Memory memory, std::memory_order order) {
  return explore(memory, [order](Machine& machine) {
    const Cell data = machine.cell("data");
    const Cell ready = machine.cell("ready");
    machine.thread("sender", [=](Thread& t) -> Steps<> {
      co_await t.store(data, 1, kRelaxed);
      co_await t.store(ready, 1, order);
    });
    machine.thread("receiver", [=, &machine](Thread& t) -> Steps<> {
      const int is_ready = co_await t.load(ready, kAcquire);
      if (is_ready == 0) co_return;
      const int got = co_await t.load(data, kRelaxed);
      machine.expect(got == 1, "ready came before the data");
    });
  });
}

TEST(Explorer, AMessageNeedsAReleaseWhereStoresAreReordered) {
  EXPECT_EQ(message(Memory::kStoreBuffers, kRelaxed).failure, "");
  EXPECT_EQ(message(Memory::kReorderedStores, kRelease).failure, "");
  EXPECT_EQ(message(Memory::kReorderedStores, kRelaxed).failure, "ready came before the data");
}

TEST(Explorer, AThreadSeesItsOwnStoreBeforeMemoryDoes) {
  const Exploration own = explore(Memory::kReorderedStores, [](Machine& machine) {
    const Cell cell = machine.cell("cell");
    machine.thread("only", [=, &machine](Thread& t) -> Steps<> {
      co_await t.store(cell, 1, kRelaxed);
      co_await t.store(cell, 2, kRelaxed);
      const int seen = co_await t.load(cell, kRelaxed);
      machine.expect(seen == 2 && t.mine(cell) == 2, "an older store was seen");
    });
    machine.at_end([=, &machine] { machine.expect(machine.value(cell) == 2, "the older store came last"); });
  });
  EXPECT_EQ(own.failure, "");
}

// n threads that each add once have 2^n states: all orders are tried, and none of them twice.
TEST(Explorer, WaysToOneStateAreFollowedOnce) {
  const Exploration adders = explore(Memory::kSequential, [](Machine& machine) {
    for (const char* name : {"a", "b", "c", "d", "e"}) {
      const Cell cell = machine.cell(name);
      machine.thread(name, [=](Thread& t) -> Steps<> { co_await t.fetch_add(cell, 1, kAcqRel); });
    }
  });
  EXPECT_EQ(adders.states, 32U);
  EXPECT_EQ(adders.steps, 80U);
}

TEST(Explorer, AnUpdateInTwoStepsLosesOne) {
  const auto count = [](bool locked) {
    return explore(Memory::kStoreBuffers, [locked](Machine& machine) {
      const Cell lock = machine.cell("lock");
      const Cell counter = machine.cell("counter");
      for (const char* name : {"first", "second"})
        machine.thread(name, [=](Thread& t) -> Steps<> {
          if (locked) co_await t.lock(lock);
          const int before = co_await t.load(counter, kRelaxed);
          co_await t.store(counter, before + 1, kRelaxed);
          if (locked) co_await t.unlock(lock);
        });
      machine.at_end([=, &machine] { machine.expect(machine.value(counter) == 2, "one is lost"); });
    });
  };
  EXPECT_EQ(count(true).failure, "");
  EXPECT_EQ(count(false).failure, "one is lost");
}

TEST(Explorer, ThreadsThatWaitForEachOtherAreNamed) {
  const Exploration stuck = explore(Memory::kSequential, [](Machine& machine) {
    const Cell left = machine.cell("left");
    const Cell right = machine.cell("right");
    machine.thread("a", [=](Thread& t) -> Steps<> {
      co_await t.lock(left);
      co_await t.lock(right);
    });
    machine.thread("b", [=](Thread& t) -> Steps<> {
      co_await t.lock(right);
      co_await t.lock(left);
    });
  });
  EXPECT_EQ(stuck.failure.find("nothing can happen any more"), 0U);
}

Steps<int> sum_of(Thread& t, Cell cell, int times) {
  if (times == 0) co_return 0;
  const int one = co_await t.load(cell, kRelaxed);
  const int rest = co_await sum_of(t, cell, times - 1);
  co_return one + rest;
}

TEST(Explorer, RoutinesMayCallRoutines) {
  const Exploration summed = explore(Memory::kSequential, [](Machine& machine) {
    const Cell cell = machine.cell("cell", 7);
    machine.thread("only", [=, &machine](Thread& t) -> Steps<> {
      const int sum = co_await sum_of(t, cell, 5);
      machine.expect(sum == 35, "a routine's value is lost");
    });
  });
  EXPECT_EQ(summed.failure, "");
  EXPECT_EQ(summed.states, 6U);
}

}  // namespace
}  // namespace weft::sched::model
