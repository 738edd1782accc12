// Going to sleep and being woken, in every interleaving: a fiber or thread that waits (sched/waiter.h, W1 to W3, and R1 of
// sched/worker.h), and a worker that finds nothing to do (R2). A change there wants the same change here; the lines that the models
// stand for are quoted.
#include <gtest/gtest.h>

#include "tests/sched/explorer.h"

namespace weft::sched::model {
namespace {

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
  kNoSecondLook,         // a worker sleeps without looking at the queues again
  kNoHeavyFence,         // ... or looks without the barrier
  kLooksBeforeAsleep,    // ... or before it says that it sleeps
  kNoLastSearcher,       // the last one that stops searching does not look
};

void expect_holds(const char* what, const Exploration& exploration) {
  print(what, exploration);
  EXPECT_EQ(exploration.failure, "") << what;
}

void expect_found(const char* what, const Exploration& exploration, const char* failure) {
  print(what, exploration);
  EXPECT_EQ(exploration.failure.find(failure), 0U) << what << ": " << exploration.failure;
}

// --- A wait (sched/waiter.h) ----------------------------------------------------------------------------------------

// WaitWord, of a wait whose count is 0 and of the next. Outcomes: 0 is kPending.
constexpr int kNotified = 1, kTimedOut = 2, kCancelled = 3, kOutcome = 7, kParked = 8, kCancellable = 16, kResumed = 32;
constexpr int kNextWait = 256;
constexpr const char* kGone = "a waiter is touched that is gone";

// One waiter, in a queue with its lock and among the timers with theirs.
struct Wait {
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
    // if (home != nullptr) home->timers().disarm(timer);
    if (mistake != Mistake::kTimerNotDisarmed) {
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
    // return static_cast<Outcome>(word_.word.load(std::memory_order_acquire) & WaitWord::kOutcome);
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

TEST(ParkingModel, AFiberThatWaitsRunsOnceWhoeverEndsTheWait) {
  expect_holds("a fiber's wait, sequential", fiber_waits(Memory::kSequential, Mistake::kNone));
  expect_holds("a fiber's wait, store buffers", fiber_waits(Memory::kStoreBuffers, Mistake::kNone));
  expect_holds("a fiber's wait, reordered stores", fiber_waits(Memory::kReorderedStores, Mistake::kNone));
}

TEST(ParkingModel, MistakesInAFibersWaitAreFound) {
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

TEST(ParkingModel, AFiberThatIsAskedToStopRunsOnce) {
  expect_holds("a stopped wait, sequential", fiber_is_stopped(Memory::kSequential, Mistake::kNone));
  expect_holds("a stopped wait, store buffers", fiber_is_stopped(Memory::kStoreBuffers, Mistake::kNone));
  expect_holds("a stopped wait, reordered stores", fiber_is_stopped(Memory::kReorderedStores, Mistake::kNone));
}

TEST(ParkingModel, MistakesAtAStopRequestAreFound) {
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

TEST(ParkingModel, AThreadThatWaitsIsWokenOrTimesOut) {
  for (const Memory memory : {Memory::kSequential, Memory::kStoreBuffers, Memory::kReorderedStores}) {
    expect_holds("a thread's wait", thread_waits(memory, Mistake::kNone, true, false));
    expect_holds("a thread's wait with a deadline", thread_waits(memory, Mistake::kNone, true, true));
    EXPECT_EQ(thread_waits(memory, Mistake::kNone, false, true).failure, "");
  }
  expect_found("a thread that looks, then sleeps",
               thread_waits(Memory::kSequential, Mistake::kLooksThenSleeps, true, false),
               "nothing can happen any more: thread waits");
}

// --- A worker without work (R2 in sched/worker.h) -------------------------------------------------------------------

constexpr int kAsleep = 1, kWoken = 2;  // Worker::sleep_; 0: awake
constexpr int kSearchingOne = 1 << 8;   // Scheduler::idle_: here 8 bits each

enum class Fence { kLight, kFull };  // of notify_one()

struct Idling {
  static constexpr int kMost = 2;  // workers that may sleep

  Idling(Machine& on, Mistake left_out, Fence how) : machine(on), mistake(left_out), fence(how) {
    static constexpr const char* kNames[kMost][2] = {{"sleep_ of 0", "eventfd of 0"}, {"sleep_ of 1", "eventfd of 1"}};
    for (int i = 0; i < kMost; ++i) {
      sleep_[i] = machine.cell(kNames[i][0]);
      event[i] = machine.cell(kNames[i][1]);
    }
  }

  // Scheduler::notify_one() and wake_a_sleeper()
  Steps<> notify_one(Thread& t) {
    // light_fence();
    if (fence == Fence::kFull) co_await t.fence();
    // const std::uint32_t idle = idle_.load(std::memory_order_relaxed);
    const int idle = co_await t.load(idle_, kRelaxed);
    // if (idle >> 16 != 0 || (idle & 0xFFFF) == 0) return;
    if (idle / kSearchingOne != 0 || idle % kSearchingOne == 0) co_return;
    co_await t.lock(idle_lock_);
    int& list = machine.value(idle_workers_);
    if (list == 0) {
      co_await t.unlock(idle_lock_);
      co_return;
    }
    const int chosen = list % 4 - 1;
    list /= 4;
    // idle_.fetch_add(kSearchingOne - 1, std::memory_order_acq_rel);
    co_await t.fetch_add(idle_, kSearchingOne - 1, kAcqRel);
    co_await t.unlock(idle_lock_);
    co_await wake(t, chosen);
  }

  // Worker::wake()
  Steps<> wake(Thread& t, int worker) {
    // light_fence();
    if (fence == Fence::kFull) co_await t.fence();
    // if (sleep_.load(std::memory_order_relaxed) == kAwake) return;
    const int state = co_await t.load(sleep_[worker], kRelaxed);
    if (state == 0) co_return;
    // if (sleep_.exchange(kNotified, std::memory_order_acq_rel) == kAsleep) reactor_->wake();
    const int before = co_await t.exchange(sleep_[worker], kWoken, kAcqRel);
    if (before == kAsleep) co_await t.exchange(event[worker], 1, kSeqCst);
  }

  // Worker::sleep(). It returns whether the worker searches afterwards.
  Steps<int> sleep(Thread& t, int me, bool searching) {
    int found = 0;
    if (mistake == Mistake::kLooksBeforeAsleep) found = co_await look(t);
    // sleep_.exchange(kAsleep, std::memory_order_acq_rel);
    co_await t.exchange(sleep_[me], kAsleep, kAcqRel);
    // Scheduler::list_idle()
    t.settle(100 * found + (searching ? 5 : 6));
    co_await t.lock(idle_lock_);
    machine.value(idle_workers_) = machine.value(idle_workers_) * 4 + me + 1;
    co_await t.fetch_add(idle_, searching ? 1 - kSearchingOne : 1, kAcqRel);
    co_await t.unlock(idle_lock_);
    t.settle(100 * found + 10);
    // const bool certain = heavy_fence();
    co_await t.fence();
    if (mistake != Mistake::kNoHeavyFence) co_await t.barrier();
    // const bool stay = !scheduler_.work_visible() && inbox_.empty() && ...
    if (mistake != Mistake::kLooksBeforeAsleep && mistake != Mistake::kNoSecondLook) found = co_await look(t);
    t.settle(20 + found);
    if (found == 0) {
      // reactor_->wait(timeout);
      co_await t.wait_until(event[me], 1);
      co_await t.exchange(event[me], 0, kSeqCst);
    }
    t.settle(30);
    // sleep_.exchange(kAwake, std::memory_order_acq_rel);
    co_await t.exchange(sleep_[me], 0, kAcqRel);
    // if (!scheduler_.unlist_idle(*this)) searching_ = true;
    co_await t.lock(idle_lock_);
    const bool unlisted = unlist(me);
    if (unlisted) co_await t.fetch_add(idle_, -1, kAcqRel);
    t.settle(unlisted ? 40 : 41);
    co_await t.unlock(idle_lock_);
    co_return unlisted ? 0 : 1;
  }

  bool unlist(int me) {
    int& list = machine.value(idle_workers_);
    int kept = 0;
    bool found = false;
    for (int rest = list, place = 1; rest != 0; rest /= 4) {
      if (rest % 4 == me + 1) {
        found = true;
        continue;
      }
      kept += rest % 4 * place;
      place *= 4;
    }
    list = kept;
    return found;
  }

  // Scheduler::work_visible()
  Steps<int> work_visible(Thread& t) {
    for (const Cell queue : work) {
      const int queued = co_await t.load(queue, kAcquire);
      if (queued == 1) co_return 1;
    }
    co_return 0;
  }

  // That, and the rest of what sleep() looks at.
  Steps<int> look(Thread& t) {
    const int queued = co_await work_visible(t);
    if (queued == 1 || !posts) co_return queued;
    const int posted = co_await t.load(inbox, kAcquire);
    co_return posted;
  }

  // Worker::stop_searching(): if (scheduler_.end_search() && scheduler_.work_visible()) scheduler_.notify_one();
  Steps<> stop_searching(Thread& t) {
    const int before = co_await t.fetch_add(idle_, -kSearchingOne, kAcqRel);
    if (before / kSearchingOne != 1 || mistake == Mistake::kNoLastSearcher) co_return;
    const int queued = co_await work_visible(t);
    if (queued == 1) co_await notify_one(t);
  }

  // Worker::push_spawned() and others. What they store has release at most: no locked instruction empties the store buffer.
  Steps<> queue(Thread& t, int which) {
    co_await t.store(work[which], 1, kRelease);
    co_await notify_one(t);
  }

  // Worker::steal() and others: what is there, by a locked instruction.
  Steps<int> take(Thread& t) {
    for (const Cell queue : work) {
      const int queued = co_await t.load(queue, kAcquire);
      if (queued == 0) continue;
      const int mine = co_await t.compare_exchange(queue, 1, 0, kAcqRel);
      if (mine == 1) co_return 1;
    }
    co_return 0;
  }

  // Scheduler::begin_search(), of two workers: if (searching != 0 && 2 * (searching + 1) > worker_count()) return false;
  Steps<int> begin_search(Thread& t) {
    const int idle = co_await t.load(idle_, kRelaxed);
    if (idle / kSearchingOne != 0) co_return 0;
    co_await t.fetch_add(idle_, kSearchingOne, kAcqRel);
    co_return 1;
  }

  // Worker::run(), search() and sleep(), until there is something to run.
  Steps<> find_work(Thread& t, int me, bool searching) {
    for (;;) {
      t.settle(searching ? 1 : 0);
      if (posts) {
        const int posted = co_await t.load(inbox, kAcquire);
        if (posted == 1) break;
      }
      // if (fiber == nullptr && searching_) fiber = steal();
      int mine = 0;
      if (searching) mine = co_await take(t);
      if (mine == 1) break;
      int searches = co_await sleep(t, me, searching);
      // if (!searching_) searching_ = scheduler_.begin_search();
      if (searches == 0) searches = co_await begin_search(t);
      searching = searches == 1;
    }
    t.settle(searching ? 50 : 51);
    if (searching) co_await stop_searching(t);
  }

  Machine& machine;
  const Mistake mistake;
  const Fence fence;
  bool posts = false;  // somebody may put something into the inbox; else it is not looked at, for fewer states
  const Cell work[2] = {machine.cell("work[0]"), machine.cell("work[1]")};  // queues with room for one
  const Cell inbox = machine.cell("inbox_");
  const Cell idle_ = machine.cell("idle_");
  const Cell idle_lock_ = machine.cell("idle_lock_");
  const Cell idle_workers_ = machine.cell("idle_workers_");
  Cell sleep_[kMost];
  Cell event[kMost];
};

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

// What is posted to one worker: Worker::post(), and with it the end of the runtime (stopping_, then wake()).
Exploration post(Memory memory, Mistake mistake) {
  return explore(memory, [=](Machine& machine) {
    machine.stores_are_steps();
    auto& idling = machine.keep<Idling>(machine, mistake, Fence::kLight);
    idling.posts = true;
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
  expect_found("posted to a worker, without a barrier", post(Memory::kStoreBuffers, Mistake::kNoHeavyFence),
               "nothing can happen any more: worker waits");
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
