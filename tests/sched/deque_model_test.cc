// sched/work_deque.h in every interleaving: one owner, thieves, a buffer that grows. A change there wants the same change here;
// the lines that the model stands for are quoted.
#include <gtest/gtest.h>

#include "tests/sched/explorer.h"

namespace weft::sched::model {
namespace {

// What a planted mistake leaves out.
enum class Mistake { kNone, kFenceOfPop, kReleaseOfPush, kReleaseOfGrown, kCompareOfLast, kLastForgotten };

// Items are numbered from 1; 0 is what was never written.
struct Deque {
  static constexpr int kItems = 4;
  static constexpr int kBuffers = 3;
  static constexpr int kMostSlots = 4;

  Deque(Machine& on, int first_capacity, Mistake left_out) : machine(on), mistake(left_out), capacity{first_capacity} {
    for (int i = 1; i < kBuffers; ++i) capacity[i] = capacity[i - 1] * 2;
    for (auto& buffer : slots)
      for (Cell& slot : buffer) slot = machine.cell("slot");
    for (Cell& item : taken) item = machine.cell("taken");
    for (Cell& item : claimable) item = machine.cell("claimable");
  }

  // Buffer::at().
  [[nodiscard]] Cell at(int buffer, int index) const { return slots[buffer][index & (capacity[buffer] - 1)]; }

  // WorkDeque::push(). What only the owner writes it reads without a step.
  Steps<> push(Thread& t, int item) {
    const int bottom = t.mine(bottom_);
    int buffer = t.mine(buffer_);
    // if (bottom - known_top_ >= buffer->size()) buffer = make_room(bottom);
    if (bottom - machine.value(known_top_) >= capacity[buffer]) buffer = co_await make_room(t, bottom);
    // buffer->at(bottom).store(item, std::memory_order_relaxed);
    co_await t.store(at(buffer, bottom), item, kRelaxed);
    // bottom_.store(bottom + 1, std::memory_order_release);
    co_await t.store(bottom_, bottom + 1, mistake == Mistake::kReleaseOfPush ? kRelaxed : kRelease);
  }

  // WorkDeque::make_room().
  Steps<int> make_room(Thread& t, int bottom) {
    // known_top_ = top_.load(std::memory_order_acquire);
    const int top = co_await t.load(top_, kAcquire);
    machine.value(known_top_) = top;
    const int old = t.mine(buffer_);
    if (bottom - top < capacity[old]) co_return old;
    const int grown = old + 1;
    for (int i = top; i < bottom; ++i) {
      const int item = t.mine(at(old, i));
      co_await t.store(at(grown, i), item, kRelaxed);
    }
    // buffer_.store(grown, std::memory_order_release);
    co_await t.store(buffer_, grown, mistake == Mistake::kReleaseOfGrown ? kRelaxed : kRelease);
    co_return grown;
  }

  // WorkDeque::pop(). 0: empty.
  Steps<int> pop(Thread& t) {
    // const std::int64_t bottom = bottom_.load(std::memory_order_relaxed) - 1;
    // bottom_.store(bottom, std::memory_order_relaxed);
    const int bottom = t.mine(bottom_) - 1;
    co_await t.store(bottom_, bottom, kRelaxed);
    // std::atomic_thread_fence(std::memory_order_seq_cst);
    if (mistake != Mistake::kFenceOfPop) co_await t.fence();
    // std::int64_t top = top_.load(std::memory_order_relaxed);
    const int top = co_await t.load(top_, kRelaxed);
    if (top > bottom) {
      co_await t.store(bottom_, bottom + 1, kRelaxed);
      co_return 0;
    }
    int item = t.mine(at(t.mine(buffer_), bottom));
    if (top == bottom) {
      // if (!top_.compare_exchange_strong(top, top + 1, seq_cst, relaxed)) item = nullptr;
      if (mistake != Mistake::kCompareOfLast) {
        const int mine = co_await t.compare_exchange(top_, top, top + 1, kSeqCst);
        if (mine == 0) item = 0;
      }
      co_await t.store(bottom_, bottom + 1, kRelaxed);
    }
    co_return item;
  }

  // FiberState::claim().
  auto claim(Thread& t, int item) { return t.exchange(claimable[item], 0, kAcqRel); }

  // WorkDeque::forget_newest(), with claim() of the item for its fence as in Worker::run_inline(). 1: it is the caller's.
  Steps<int> forget_newest(Thread& t) {
    const int before = co_await t.load(top_, kRelaxed);  // WorkDeque::newest()
    if (t.mine(bottom_) == before) co_return 0;
    const int bottom = t.mine(bottom_) - 1;
    const int item = t.mine(at(t.mine(buffer_), bottom));
    co_await t.store(bottom_, bottom, kRelaxed);
    const int done = co_await claim(t, item);
    // if (!done || top_.load(std::memory_order_relaxed) >= bottom) bottom_.store(bottom + 1, std::memory_order_relaxed);
    const int top = co_await t.load(top_, kRelaxed);
    const bool may_be_stolen = top >= bottom && mistake != Mistake::kLastForgotten;
    if (done == 0 || may_be_stolen) co_await t.store(bottom_, bottom + 1, kRelaxed);
    co_return done;
  }

  // WorkDeque::steal(). 0: there is none, or somebody else just took it.
  Steps<int> steal(Thread& t) {
    // std::int64_t top = top_.load(std::memory_order_acquire);
    // std::atomic_thread_fence(std::memory_order_seq_cst);
    const int top = co_await t.load(top_, kAcquire);
    co_await t.fence();
    // const std::int64_t bottom = bottom_.load(std::memory_order_acquire);
    const int bottom = co_await t.load(bottom_, kAcquire);
    if (top >= bottom) co_return 0;
    // T* item = buffer_.load(std::memory_order_acquire)->at(top).load(std::memory_order_relaxed);
    const int buffer = co_await t.load(buffer_, kAcquire);
    const int item = co_await t.load(at(buffer, top), kRelaxed);
    // if (!top_.compare_exchange_strong(top, top + 1, seq_cst, relaxed)) return nullptr;
    const int mine = co_await t.compare_exchange(top_, top, top + 1, kSeqCst);
    if (mine == 0) co_return 0;
    machine.expect(item != 0, "a thief has what was never put in");
    co_return item;
  }

  void take(const Thread& t, int item) {
    if (item == 0) return;
    machine.note(t, "takes item", item);
    machine.expect(++machine.value(taken[item]) == 1, "an item is taken twice");
  }

  void expect_all_taken(int items) {
    for (int item = 1; item <= items; ++item) machine.expect(machine.value(taken[item]) == 1, "an item is lost");
  }

  Machine& machine;
  const Mistake mistake;
  int capacity[kBuffers];
  const Cell top_ = machine.cell("top_");
  const Cell bottom_ = machine.cell("bottom_");
  const Cell buffer_ = machine.cell("buffer_");
  const Cell known_top_ = machine.cell("known_top_");  // the owner's: no steps
  Cell slots[kBuffers][kMostSlots];
  Cell taken[kItems + 1];
  Cell claimable[kItems + 1];
};

void add_thieves(Machine& machine, Deque& deque, int thieves, int times) {
  static constexpr const char* kNames[] = {"thief 1", "thief 2"};
  for (int i = 0; i < thieves; ++i)
    machine.thread(kNames[i], [&deque, times](Thread& t) -> Steps<> {
      for (int left = times; left > 0; --left) {
        t.settle(left);
        const int item = co_await deque.steal(t);
        deque.take(t, item);
      }
    });
}

// The owner puts in `items`, takes `between` after each but the first, and then all that is left.
Exploration push_and_pop(Memory memory, Mistake mistake, int capacity, int items, int between, int thieves, int times) {
  return explore(memory, [=](Machine& machine) {
    auto& deque = machine.keep<Deque>(machine, capacity, mistake);
    machine.thread("owner", [&deque, items, between](Thread& t) -> Steps<> {
      for (int item = 1; item <= items; ++item) {
        co_await deque.push(t, item);
        for (int i = 0; i < between && item > 1; ++i) {
          const int mine = co_await deque.pop(t);
          deque.take(t, mine);
        }
        t.settle(item);
      }
      for (;;) {
        const int mine = co_await deque.pop(t);
        if (mine == 0) break;
        deque.take(t, mine);
        t.settle(items + 1);
      }
    });
    add_thieves(machine, deque, thieves, times);
    machine.at_end([&deque, items] { deque.expect_all_taken(items); });
  });
}

TEST(DequeModel, EachItemIsTakenOnceInEveryInterleaving) {
  const auto tried = [](const char* what, const Exploration& exploration) {
    print(what, exploration);
    EXPECT_EQ(exploration.failure, "") << what;
  };
  using enum Memory;
  tried("deque, 2 thieves, sequential", push_and_pop(kSequential, Mistake::kNone, 2, 2, 0, 2, 2));
  tried("deque, 2 thieves, store buffers", push_and_pop(kStoreBuffers, Mistake::kNone, 2, 2, 0, 2, 2));
  tried("deque, 2 thieves, reordered stores", push_and_pop(kReorderedStores, Mistake::kNone, 2, 2, 0, 2, 1));
}

TEST(DequeModel, GrowingAndWrappingLosesNothing) {
  const auto tried = [](const char* what, const Exploration& exploration) {
    print(what, exploration);
    EXPECT_EQ(exploration.failure, "") << what;
  };
  using enum Memory;
  tried("deque that grows twice, 2 thieves, store buffers", push_and_pop(kStoreBuffers, Mistake::kNone, 1, 3, 0, 2, 1));
  tried("deque that grows, 1 thief, reordered stores", push_and_pop(kReorderedStores, Mistake::kNone, 1, 3, 0, 1, 2));
  tried("deque that wraps, 2 thieves, store buffers", push_and_pop(kStoreBuffers, Mistake::kNone, 2, 4, 1, 2, 1));
}

TEST(DequeModel, WithoutTheFenceOfPopAnItemIsTakenTwice) {
  const Exploration found = push_and_pop(Memory::kStoreBuffers, Mistake::kFenceOfPop, 2, 2, 0, 2, 1);
  print("deque without the fence of pop()", found);
  EXPECT_EQ(found.failure, "an item is taken twice");
  // It is the late store that does it.
  EXPECT_EQ(push_and_pop(Memory::kSequential, Mistake::kFenceOfPop, 2, 2, 0, 2, 1).failure, "");
}

TEST(DequeModel, WithoutAReleaseAThiefHasWhatIsNotThereYet) {
  const auto found = [](Mistake mistake, int capacity) {
    EXPECT_EQ(push_and_pop(Memory::kStoreBuffers, mistake, capacity, 2, 0, 1, 1).failure, "");  // x86 does not mind
    return push_and_pop(Memory::kReorderedStores, mistake, capacity, 2, 0, 1, 1).failure;
  };
  EXPECT_EQ(found(Mistake::kReleaseOfPush, 2), "a thief has what was never put in");
  EXPECT_EQ(found(Mistake::kReleaseOfGrown, 1), "a thief has what was never put in");
}

TEST(DequeModel, TheLastItemIsOwnersOrThiefsByOneExchange) {
  EXPECT_EQ(push_and_pop(Memory::kSequential, Mistake::kCompareOfLast, 2, 1, 0, 1, 1).failure,
            "an item is taken twice");
}

// Items as hints at fibers: the owner joins the newest but one and runs it itself, puts in another, and then takes the oldest as
// Worker::take_fresh() does.
Exploration join_newest(Memory memory, Mistake mistake, int items, int thieves, int times) {
  return explore(memory, [=](Machine& machine) {
    auto& deque = machine.keep<Deque>(machine, 4, mistake);
    for (int item = 1; item <= items; ++item) machine.value(deque.claimable[item]) = 1;
    machine.thread("owner", [&deque, items](Thread& t) -> Steps<> {
      for (int item = 1; item < items; ++item) co_await deque.push(t, item);
      const int joined = co_await deque.forget_newest(t);
      if (joined != 0) deque.take(t, items - 1);
      co_await deque.push(t, items);
      // while (!fresh_.empty()) { FiberState* fiber = fresh_.steal(); if (fiber != nullptr && fiber->claim()) return fiber; }
      for (;;) {
        t.settle(items + 1);
        const int top = co_await t.load(deque.top_, kRelaxed);
        if (t.mine(deque.bottom_) - top <= 0) break;
        const int item = co_await deque.steal(t);
        if (item == 0) continue;
        const int mine = co_await deque.claim(t, item);
        if (mine != 0) deque.take(t, item);
      }
    });
    for (int i = 0; i < thieves; ++i)
      machine.thread(i == 0 ? "thief 1" : "thief 2", [&deque, times](Thread& t) -> Steps<> {
        for (int left = times; left > 0; --left) {
          t.settle(left);
          const int item = co_await deque.steal(t);
          if (item == 0) continue;
          const int mine = co_await deque.claim(t, item);
          if (mine != 0) deque.take(t, item);
        }
      });
    machine.at_end([&deque, items] { deque.expect_all_taken(items); });
  });
}

TEST(DequeModel, AFiberThatIsJoinedOnItsJoinersStackRunsOnce) {
  using enum Memory;
  const Exploration two = join_newest(kStoreBuffers, Mistake::kNone, 3, 2, 1);
  print("newest forgotten, 2 thieves, store buffers", two);
  EXPECT_EQ(two.failure, "");
  EXPECT_EQ(join_newest(kReorderedStores, Mistake::kNone, 3, 1, 2).failure, "");
  // bottom_ would be below top_, and what comes next where nobody looks.
  EXPECT_EQ(join_newest(kStoreBuffers, Mistake::kLastForgotten, 2, 1, 2).failure, "an item is lost");
}

}  // namespace
}  // namespace weft::sched::model
