// wait_model.h - a model of one wait of a fiber or thread (sched/waiter.h, W1 to W3, and R1 of sched/worker.h), for the explorer. A change
// there wants the same change here; the lines that it stands for are quoted. Cases: wait_model_test.cc.
#pragma once

#include "tests/sched/explorer.h"

namespace weft::sched::model {

// WaitWord, of a wait whose count is 0 and of the next. Outcomes: 0 is kPending.
constexpr int kNotified = 1, kTimedOut = 2, kCancelled = 3, kOutcome = 7, kParked = 8, kCancellable = 16, kResumed = 32;
constexpr int kNextWait = 256;
constexpr const char* kGone = "a waiter is touched that is gone";

// One waiter, in a queue with its lock and among the timers with theirs.
struct Wait {
  // What a planted mistake leaves out or does too early.
  enum class Mistake {
    kNone,
    kParksBeforeSaved,     // commit_park() before the context is saved
    kResumeOverlooked,     // what commit_park() says is not looked at
    kTimerNotDisarmed,     // park() returns without it
    kResumesWithoutClaim,  // the one that ends the wait does not claim() it
    kNoLookAfterPark,      // who has parked does not look whether it was asked to stop meanwhile
    kLooksBeforeStop,      // a stop request looks at the wait before it says that it is there
    kLooksThenSleeps,      // a thread compares the word itself instead of leaving it to the futex
  };

  Wait(Machine& on, Mistake left_out) : machine(on), mistake(left_out) {}

  // Waiter::claim()
  Steps<int> claim(Thread& t, int outcome) {
    machine.expect(machine.value(gone) == 0, kGone);
    for (;;) {
      // if ((word & ~(WaitWord::kParked | WaitWord::kCancellable)) != number_) return false;
      const int word = co_await t.load(word_, kRelaxed);
      if ((word & ~(kParked | kCancellable)) != 0) co_return 0;
      // word_.word.compare_exchange_weak(word, word | outcome, std::memory_order_acq_rel, ...)
      const int mine = co_await t.compare_exchange(word_, word, word | outcome, kAcqRel);
      if (mine == 1) co_return 1;
    }
  }

  // What unlockers and timers do: take it out under the lock they found it under, claim it, resume it.
  Steps<> end_it(Thread& t, Cell lock, Cell linked, int outcome) {
    co_await t.lock(lock);
    int mine = 0;
    if (machine.value(linked) == 1) {
      machine.value(linked) = 0;
      mine = 1;
      if (mistake != Mistake::kResumesWithoutClaim) mine = co_await claim(t, outcome);
    }
    co_await t.unlock(lock);
    if (mine == 1) co_await resume(t);
  }

  // Waiter::resume()
  Steps<> resume(Thread& t) {
    machine.expect(machine.value(gone) == 0, kGone);
    // std::uint64_t before = word.word.load(std::memory_order_acquire);
    int before = co_await t.load(word_, kAcquire);
    // if (scheduler == nullptr || (before & WaitWord::kParked) == 0) before = word.word.fetch_or(WaitWord::kResumed, ...);
    if (is_thread || (before & kParked) == 0) {
      before = co_await t.fetch_add(word_, kResumed, kAcqRel);
      machine.expect((before & kResumed) == 0, "a waiter is resumed twice");
    }
    if ((before & kParked) == 0) co_return;
    if (is_thread) {
      // wake_thread(word);
      co_await t.exchange(asleep, 0, kSeqCst);
    } else {
      // scheduler->make_ready(self);
      co_await t.fetch_add(ready, 1, kAcqRel);
    }
  }

  // WaitWord::cancel(), by who has seen or made it so.
  Steps<> cancel(Thread& t, int parked) {
    const int mine = co_await t.compare_exchange(word_, parked, parked | kCancelled, kAcqRel);
    if (mine == 1) co_await t.fetch_add(ready, 1, kAcqRel);
  }

  // FiberState::request_stop()
  Steps<> stop(Thread& t) {
    int word = 0;
    if (mistake == Mistake::kLooksBeforeStop) word = co_await t.load(word_, kSeqCst);
    // stop_requested.store(true, std::memory_order_seq_cst);
    co_await t.exchange(stop_requested, 1, kSeqCst);
    // const std::uint64_t word = wait.word.load(std::memory_order_seq_cst);
    if (mistake != Mistake::kLooksBeforeStop) word = co_await t.load(word_, kSeqCst);
    // if ((word & WaitWord::kFlags) != kMayBe || !wait.cancel(word)) return;
    if (word % kNextWait == (kParked | kCancellable)) co_await cancel(t, word);
  }

  // The fiber, up to where its context is saved: Waiter::park_fiber(), Worker::park_current().
  Steps<> park(Thread& t) {
    co_await t.lock(queue_lock);
    machine.value(queued) = 1;
    co_await t.unlock(queue_lock);
    // home->timers().arm(timer, ...)
    co_await t.lock(timers_lock);
    machine.value(armed) = 1;
    co_await t.unlock(timers_lock);
    // if (!resumed()) ... park_current(*this)
    const int word = co_await t.load(word_, kAcquire);
    if ((word & kResumed) != 0) {
      co_await go_on(t);
      co_return;
    }
    // Context::switch_to() saves, and Worker::arrive(), After::kPark, commits on the stack of another.
    if (mistake != Mistake::kParksBeforeSaved) co_await t.store(saved, 1, kRelaxed);
    // if (!left_waiter_->commit_park()) push_woken(fiber);
    const int parks_as = cancellable ? kParked | kCancellable : kParked;
    const int before = co_await t.fetch_add(word_, parks_as, kSeqCst);
    if (mistake == Mistake::kParksBeforeSaved) co_await t.store(saved, 1, kRelaxed);
    if ((before & kResumed) != 0) {
      if (mistake != Mistake::kResumeOverlooked) co_await t.fetch_add(ready, 1, kAcqRel);
    } else if (cancellable && mistake != Mistake::kNoLookAfterPark) {
      // self->stop_requested.load(std::memory_order_seq_cst); ... word.cancel(parked)
      const int stops = co_await t.load(stop_requested, kSeqCst);
      if (stops == 1) co_await cancel(t, parks_as);
    }
  }

  // The fiber from there on: the rest of park_fiber(), and what lock_slow() or another caller does after park().
  Steps<> go_on(Thread& t) {
    machine.expect(++machine.value(runs) == 1, "a fiber runs twice");
    // if (home != nullptr && outcome() != Outcome::kTimedOut) home->timers().disarm(timer);
    const int ended_by = co_await t.load(word_, kAcquire) & kOutcome;
    if (ended_by != kTimedOut && mistake != Mistake::kTimerNotDisarmed) {
      co_await t.lock(timers_lock);
      machine.value(armed) = 0;
      co_await t.unlock(timers_lock);
    }
    co_await finish(t);
    // The fiber's next Waiter.
    if (cancellable) co_await t.store(word_, kNextWait, kRelaxed);
  }

  // What follows a park.
  Steps<> finish(Thread& t) {
    // return outcome();
    const int outcome = co_await t.load(word_, kAcquire) & kOutcome;
    machine.expect(outcome != 0, "park() returns without an outcome");
    if (outcome != kNotified) {
      co_await t.lock(queue_lock);
      machine.value(queued) = 0;
      co_await t.unlock(queue_lock);
    }
    machine.value(gone) = 1;
  }

  // Another worker, which runs what is ready.
  Steps<> run_when_ready(Thread& t) {
    for (;;) {
      co_await t.wait_while(ready, 0);
      co_await t.fetch_add(ready, -1, kAcqRel);
      const int is_saved = co_await t.load(saved, kRelaxed);
      machine.expect(is_saved == 1, "a fiber runs whose context is not saved");
      co_await go_on(t);
    }
  }

  // Waiter::park_thread()
  Steps<> park_thread(Thread& t, Cell deadline) {
    // if (!commit_park()) return;
    const int before = co_await t.fetch_add(word_, kParked, kSeqCst);
    while ((before & kResumed) == 0) {
      t.settle(0);
      // const std::uint64_t word = word_.word.load(std::memory_order_acquire);
      const int word = co_await t.load(word_, kAcquire);
      // if ((word & WaitWord::kResumed) != 0) return;
      if ((word & kResumed) != 0) break;
      // syscall(SYS_futex, futex_of(word_), FUTEX_WAIT_BITSET_PRIVATE, word, ...)
      if (mistake == Mistake::kLooksThenSleeps) {
        co_await t.exchange(asleep, 1, kSeqCst);
        co_await t.wait_until(asleep, 0);
      } else {
        const int sleeps = co_await t.futex_enlist(word_, word, asleep);
        if (sleeps == 1) co_await t.wait_until(asleep, 0);
      }
      // if (!resumed() && deadline.passed() && claim(Outcome::kTimedOut)) return;
      const int now = co_await t.load(word_, kAcquire);
      if ((now & kResumed) != 0) break;
      const int passed = co_await t.load(deadline, kRelaxed);
      if (passed == 0) continue;
      const int mine = co_await claim(t, kTimedOut);
      if (mine == 1) break;
    }
    co_await finish(t);
  }

  Machine& machine;
  const Mistake mistake;
  bool is_thread = false;
  bool cancellable = false;
  const Cell word_ = machine.cell("word_");
  const Cell stop_requested = machine.cell("stop_requested");
  const Cell queue_lock = machine.cell("queue_lock_");
  const Cell queued = machine.cell("linked");
  const Cell timers_lock = machine.cell("the timers' lock");
  const Cell armed = machine.cell("armed");
  const Cell saved = machine.cell("saved context");
  const Cell ready = machine.cell("queue of ready fibers");
  const Cell asleep = machine.cell("asleep on the futex");
  const Cell gone = machine.cell("gone");
  const Cell runs = machine.cell("runs");
};

}  // namespace weft::sched::model
