// idling_model.h - a model of workers that find nothing to do and of those who give them work (R2 of sched/worker.h), for the explorer.
// A change there wants the same change here; the lines that it stands for are quoted. Cases: parking_model_test.cc.
#pragma once

#include "tests/sched/explorer.h"

namespace weft::sched::model {

constexpr int kAsleep = 1, kWoken = 2;  // Worker::sleep_; 0: awake
constexpr int kSearchingOne = 1 << 8;   // Scheduler::idle_: here 8 bits each

enum class Fence { kLight, kFull };  // of notify_one()

struct Idling {
  // What a planted mistake leaves out or does too early.
  enum class Mistake {
    kNone,
    kNoSecondLook,       // a worker sleeps without looking at the queues again
    kNoHeavyFence,       // ... or looks without the barrier
    kLooksBeforeAsleep,  // ... or before it says that it sleeps
    kNoLastSearcher,     // the last one that stops searching does not look
    kLightWake,          // wake() keeps only the compiler in order
  };

  static constexpr int kMost = 2;  // workers that may sleep

  Idling(Machine& on, Mistake left_out, Fence how) : machine(on), mistake(left_out), fence(how) {
    static constexpr const char* kNames[kMost][2] = {{"sleep_ of 0", "eventfd of 0"}, {"sleep_ of 1", "eventfd of 1"}};
    for (int i = 0; i < kMost; ++i) {
      sleep_[i] = machine.cell(kNames[i][0]);
      event[i] = machine.cell(kNames[i][1]);
    }
  }

  // Scheduler::notify_one() and wake_a_sleeper(); kFull: notify_from_outside()
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
    // std::atomic_thread_fence(std::memory_order_seq_cst);
    if (mistake != Mistake::kLightWake) co_await t.fence();
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
    // if (for_device_) std::atomic_thread_fence(std::memory_order_seq_cst); else certain = heavy_fence();
    co_await t.fence();
    if (!for_device && mistake != Mistake::kNoHeavyFence) co_await t.barrier();
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
  bool for_device = false;  // whoever sleeps does it for a device
  bool posts = false;       // somebody may put something into the inbox; else it is not looked at, for fewer states
  const Cell work[2] = {machine.cell("work[0]"), machine.cell("work[1]")};  // queues with room for one
  const Cell inbox = machine.cell("inbox_");
  const Cell idle_ = machine.cell("idle_");
  const Cell idle_lock_ = machine.cell("idle_lock_");
  const Cell idle_workers_ = machine.cell("idle_workers_");
  Cell sleep_[kMost];
  Cell event[kMost];
};

}  // namespace weft::sched::model
