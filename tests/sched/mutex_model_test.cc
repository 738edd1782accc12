// sched/mutex.* in every interleaving: threads that lock, wait, are notified or handed the lock, and one that gives up. A change
// there wants the same change here; the lines that the model stands for are quoted. The wait itself is wait_model.h's.
#include <gtest/gtest.h>

#include "tests/sched/exploration_expect.h"

namespace weft::sched::model {
namespace {

// What a planted mistake does.
enum class Mistake {
  kNone,
  kWaitersForgotten,   // unlock_slow() clears kWaiters while others are in the queue
  kWaitersOverlooked,  // unlock() does not look for waiters
  kHandedOverButFree,  // who is handed the lock does not find it locked
  kUnlockedTooEarly,   // a relaxed unlock()
};

constexpr int kLocked = 1, kWaiters = 2;                                    // Mutex::word_
constexpr int kPending = 0, kNotified = 1, kHandedOver = 2, kTimedOut = 3;  // Outcome

struct Mutex {
  static constexpr int kThreads = 3;

  Mutex(Machine& on, Mistake planted) : machine(on), mistake(planted) {
    for (int i = 0; i < kThreads; ++i) {
      outcome[i] = machine.cell("outcome_");
      resumed[i] = machine.cell("phase_");
      exclusive[i] = machine.cell("exclusive");
    }
  }

  // Mutex::take_free()
  auto take_free(Thread& t) { return t.compare_exchange(word_, 0, kLocked, kAcquire); }

  // Mutex::lock(), or try_lock_until() of a thread whose deadline passes. 1: has it.
  Steps<int> lock(Thread& t, int me) {
    const int free = co_await take_free(t);
    if (free == 1) co_return 1;
    co_return co_await lock_slow(t, me);
  }

  Steps<int> lock_slow(Thread& t, int me) {
    bool overtaken = false;
    for (;;) {
      t.settle(overtaken ? 101 : 100);
      // const std::lock_guard guard(queue_lock_);
      co_await t.lock(queue_lock_);
      for (;;) {
        const int word = co_await t.load(word_, kRelaxed);
        if ((word & kLocked) == 0) {
          // word_.compare_exchange_weak(word, word | kLocked, std::memory_order_acquire, ...)
          const int mine = co_await t.compare_exchange(word_, word, word | kLocked, kAcquire);
          if (mine == 0) continue;
          co_await t.unlock(queue_lock_);
          co_return 1;
        }
        if ((word & kWaiters) != 0) break;
        // word_.compare_exchange_weak(word, word | kWaiters, std::memory_order_relaxed, ...)
        const int told = co_await t.compare_exchange(word_, word, word | kWaiters, kRelaxed);
        if (told == 1) break;
      }
      // A new Waiter, put into the queue.
      machine.value(outcome[me]) = kPending;
      machine.value(resumed[me]) = 0;
      machine.value(exclusive[me]) = overtaken ? 1 : 0;
      push(me, overtaken);
      co_await t.unlock(queue_lock_);

      // const Outcome outcome = waiter.park("mutex", deadline);
      if (me == timed) {
        co_await t.lock(timers_lock);
        machine.value(armed) = 1;
        co_await t.unlock(timers_lock);
      }
      co_await t.wait_until(resumed[me], 1);
      if (me == timed) {
        co_await t.lock(timers_lock);
        machine.value(armed) = 0;
        co_await t.unlock(timers_lock);
      }
      const int how = co_await t.load(outcome[me], kAcquire);
      if (how == kHandedOver) co_return 1;
      if (how == kTimedOut) {
        co_await t.lock(queue_lock_);
        remove(me);
        // if (queue_.empty()) word_.fetch_and(~kWaiters, std::memory_order_relaxed);
        if (machine.value(queue_) == 0) {
          int word = co_await t.load(word_, kRelaxed);
          while (co_await t.compare_exchange(word_, word, word & ~kWaiters, kRelaxed) == 0)
            word = co_await t.load(word_, kRelaxed);
        }
        co_await t.unlock(queue_lock_);
        co_return 0;
      }
      overtaken = true;
    }
  }

  // Timers::fire(), from the moment on when the deadline has passed.
  Steps<> give_up(Thread& t) {
    for (;;) {
      t.settle(0);
      co_await t.wait_until(armed, 1);
      co_await t.lock(timers_lock);
      int mine = 0;
      if (machine.value(armed) == 1) {
        machine.value(armed) = 0;
        mine = co_await t.compare_exchange(outcome[timed], kPending, kTimedOut, kAcqRel);
      }
      co_await t.unlock(timers_lock);
      if (mine == 1) co_await t.exchange(resumed[timed], 1, kAcqRel);
    }
  }

  // Mutex::unlock()
  Steps<> unlock(Thread& t) {
    if (mistake == Mistake::kWaitersOverlooked) {
      co_await t.store(word_, 0, kRelease);
      co_return;
    }
    // if (!word_.compare_exchange_strong(mine, 0, std::memory_order_release, ...)) unlock_slow();
    const int nobody =
        co_await t.compare_exchange(word_, kLocked, 0, mistake == Mistake::kUnlockedTooEarly ? kRelaxed : kRelease);
    if (nobody == 0) co_await unlock_slow(t);
  }

  Steps<> unlock_slow(Thread& t) {
    int waiter = -1;
    bool handed_over = false;
    co_await t.lock(queue_lock_);
    // while (waiter == nullptr && !queue_.empty())
    while (waiter < 0 && machine.value(queue_) != 0) {
      const int first = machine.value(queue_) % 4 - 1;
      handed_over = machine.value(exclusive[first]) == 1;
      remove(first);
      const int claimed =
          co_await t.compare_exchange(outcome[first], kPending, handed_over ? kHandedOver : kNotified, kAcqRel);
      if (claimed == 1) waiter = first;
    }
    const int others = machine.value(queue_) == 0 || mistake == Mistake::kWaitersForgotten ? 0 : kWaiters;
    const bool keeps_locked = waiter >= 0 && handed_over && mistake != Mistake::kHandedOverButFree;
    // word_.store(others | (keeps_locked ? kLocked : 0), std::memory_order_release);
    co_await t.store(word_, others | (keeps_locked ? kLocked : 0), kRelease);
    co_await t.unlock(queue_lock_);
    // if (waiter != nullptr) waiter->resume();
    if (waiter >= 0) co_await t.exchange(resumed[waiter], 1, kAcqRel);
  }

  // The queue is a number of base 4, its front the last digit.
  void push(int who, bool front) {
    int& queue = machine.value(queue_);
    int place = 1;
    while (queue / place != 0) place *= 4;
    queue = front ? queue * 4 + who + 1 : queue + (who + 1) * place;
  }
  void remove(int who) {
    int& queue = machine.value(queue_);
    int kept = 0;
    for (int rest = queue, place = 1; rest != 0; rest /= 4) {
      if (rest % 4 == who + 1) continue;
      kept += rest % 4 * place;
      place *= 4;
    }
    queue = kept;
  }

  Machine& machine;
  const Mistake mistake;
  int timed = -1;  // who has a deadline
  const Cell timers_lock = machine.cell("the timers' lock");
  const Cell armed = machine.cell("armed");
  const Cell word_ = machine.cell("word_");
  const Cell queue_lock_ = machine.cell("queue_lock_");
  const Cell queue_ = machine.cell("queue_");
  const Cell data = machine.cell("what the mutex guards");
  const Cell locked = machine.cell("times locked");
  const Cell inside = machine.cell("inside");
  const Cell handed = machine.cell("times handed over");
  Cell outcome[kThreads];
  Cell resumed[kThreads];
  Cell exclusive[kThreads];
};

// Each of `times` locks so often, and adds one to what the mutex guards; if `timed`, the last one's deadline may pass.
Exploration lockers(Memory memory, Mistake mistake, const std::vector<int>& times, bool timed) {
  return explore(memory, [=](Machine& machine) {
    static constexpr const char* kNames[] = {"first", "second", "third"};
    auto& mutex = machine.keep<Mutex>(machine, mistake);
    for (int me = 0; me < static_cast<int>(times.size()); ++me)
      machine.thread(kNames[me], [&mutex, me, rounds = times[static_cast<std::size_t>(me)]](Thread& t) -> Steps<> {
        Machine& on = mutex.machine;
        for (int round = 0; round < rounds; ++round) {
          const int has = co_await mutex.lock(t, me);
          if (has == 0) co_return;
          on.expect(++on.value(mutex.inside) == 1, "two have the mutex");
          t.settle(round);
          const int before = co_await t.load(mutex.data, kRelaxed);
          on.expect(before == on.value(mutex.locked), "what the last owner did is not seen");
          ++on.value(mutex.locked);
          co_await t.store(mutex.data, before + 1, kRelaxed);
          --on.value(mutex.inside);
          t.settle(50 + round);
          co_await mutex.unlock(t);
        }
      });
    if (timed) {
      mutex.timed = static_cast<int>(times.size()) - 1;
      machine.thread("clock", [&mutex](Thread& t) { return mutex.give_up(t); }).may_wait_forever();
    }
    machine.at_end([&mutex, &machine] {
      machine.expect(machine.value(mutex.word_) == 0, "the mutex is not free at the end");
      machine.expect(machine.value(mutex.queue_) == 0, "somebody is left in the queue");
    });
  });
}

TEST(MutexModel, OneAtATimeHasItAndNobodyWaitsForEver) {
  using enum Memory;
  expect_holds("mutex, 3 threads, sequential", lockers(kSequential, Mistake::kNone, {2, 1, 1}, false));
  expect_holds("mutex, 3 threads, store buffers", lockers(kStoreBuffers, Mistake::kNone, {2, 1, 1}, false));
  expect_holds("mutex, 2 threads, reordered stores", lockers(kReorderedStores, Mistake::kNone, {2, 2}, false));
}

TEST(MutexModel, OneThatGivesUpLeavesTheOthersTheirWakeUps) {
  expect_holds("mutex with a deadline", lockers(Memory::kStoreBuffers, Mistake::kNone, {1, 1, 1}, true));
}

TEST(MutexModel, MistakesAreFound) {
  const auto found = [](const char* what, Memory memory, Mistake mistake) {
    const Exploration exploration = lockers(memory, mistake, {2, 1, 1}, false);
    print(what, exploration);
    return exploration.failure;
  };
  using enum Memory;
  EXPECT_EQ(found("kWaiters forgotten", kSequential, Mistake::kWaitersForgotten).find("nothing can happen any more"),
            0U);
  EXPECT_EQ(found("kWaiters overlooked", kSequential, Mistake::kWaitersOverlooked).find("nothing can happen any more"),
            0U);
  EXPECT_EQ(found("handed over, but free", kSequential, Mistake::kHandedOverButFree), "two have the mutex");
  EXPECT_EQ(found("a relaxed unlock", kReorderedStores, Mistake::kUnlockedTooEarly),
            "what the last owner did is not seen");
}

}  // namespace
}  // namespace weft::sched::model
