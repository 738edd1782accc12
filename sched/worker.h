// sched/worker.h - one thread that runs fibers: picks the next, switches to it, and sleeps in its ring when there is none.
// Internal.
//
//   spawn, resume  ->  [worker: next slot, own queue, inbox]  ->  context switch  ->  fiber
//
// A fiber that parks switches straight to the next one; only when there is none does it switch to the thread's own context,
// whose loop searches, steals, spins for a little and then sleeps. Whoever arrives from a switch first does what the one who
// left could not do for itself (arrive()): declare it parked, queue it, or take its stack.
//
// A fiber that has not begun has no stack. It waits as a hint (fiber.h, F4): the newest one in `newest_`, older ones in the deque
// `fresh_`, oldest taken first. It begins in one of three ways: on the stack of a fiber that has just ended, without a switch; on
// a stack of its own; or above the frames of the fiber that joins it (run_inline()), which has nothing to do meanwhile.
//
// While there are fibers of a high class or a group, classes.h says who is next. Else, and among ordinary fibers, the order of
// picking is: every 64th time the injector, timers and ring first; then `next_` (the fiber woken last, warm; at most 16
// times in a row), the inbox of pinned fibers, then in turn the queue of woken fibers and those that have not begun.
//
// Invariants   R1  a fiber is queued, or may be resumed, only after its context is saved
//              R2  before it sleeps a worker is listed idle, then fences (heavy_fence()), then looks at all queues again; whoever
//                  queues fences (light_fence()) and then looks at the idle count. One of the two sees the other. What another
//                  worker comes to by itself may be passed over: what it spawned while thieves are drowsy (worker_search.cc), and
//                  what it queues in the moment that one goes to sleep for a device, which fences for itself only; so who
//                  comes to nothing himself, or queues for one worker, fences in full
//              R3  `this` is not touched after a switch, nor after anything else that runs a fiber: the caller may be on
//                  another worker by then
// Thread-safety: of its own thread, but for post(), wake(), counters and what thieves do.
// Tests: tests/sched/runtime_test.cc, stress_test.cc; in every interleaving: parking_model_test.cc (R2), raid_model_test.cc (next_).
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string_view>
#include <thread>
#include <vector>

#include "sched/checkpoint.h"
#include "sched/classes.h"
#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/fiber_pool.h"
#include "sched/injector.h"
#include "sched/inspect.h"
#include "sched/local_queue.h"
#include "sched/observer.h"
#include "sched/reactor.h"
#include "sched/timers.h"
#include "sched/work_deque.h"

namespace weft::sched {

class Scheduler;
class SimulatedOrder;
class ForkDeque;
struct ForkFrame;

class Worker {
 public:
  Worker(Scheduler& scheduler, FiberPool& pool, unsigned index, bool alone) noexcept
      : scheduler_(scheduler), pool_(&pool), index_(index), alone_(alone) {}
  ~Worker() { delete observer_.load(std::memory_order_relaxed); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The thread's life: makes the reactor, reports to `ready`, runs until the scheduler stops.
  Status start_on_this_thread();
  void run();
  // One worker on the calling thread, in the order `order` draws, in virtual time, until no fiber lives. kBusy: the rest wait
  // for each other.
  Status run_simulated(SimulatedOrder& order);

  [[nodiscard]] Scheduler& scheduler() const noexcept { return scheduler_; }
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  [[nodiscard]] FiberState* current() const noexcept { return current_.load(std::memory_order_relaxed); }
  [[nodiscard]] Reactor& reactor() noexcept { return *reactor_; }
  [[nodiscard]] Timers& timers() noexcept { return timers_; }
  [[nodiscard]] bool simulated() const noexcept { return order_ != nullptr; }
  [[nodiscard]] SimulatedOrder* order() const noexcept { return order_; }

  // Of the current fiber. It may come back on another worker.
  void yield_current() noexcept;
  void yield_simulated(bool passes_time) noexcept;
  void park_current(Waiter& waiter) noexcept;
  // Runs `child`, whose end the current fiber wants to wait for, here and now; its two references are then the caller's. False:
  // it has begun already, or there is a reason to let others run.
  bool run_inline(FiberState& child) noexcept;
  void checkpoint() noexcept;
  [[nodiscard]] Slice& slice() noexcept { return slice_; }

  // fork_join.cc: a place for the forks of `fiber`; a fiber that runs one and was taken out of it, not queued yet.
  ForkDeque* give_forks(FiberState& fiber);
  FiberState* fiber_for(ForkFrame& frame);

  // Scheduler::spawn() for the current fiber, with nothing said of how it is scheduled.
  FiberState* spawn(std::string_view name, Body&& body);
  // Memory for a fiber, and its number.
  FiberState* new_fiber();
  // False: it is another scheduler's.
  bool recycle(FiberState& fiber) noexcept {
    if (fiber.pool != pool_) return false;
    if (free_count_ == free_fibers_.size()) [[unlikely]]
      give_back_fibers();
    free_fibers_[free_count_++] = &fiber;
    return true;
  }

  // A fiber whose wait has ended, as Scheduler::make_ready(): on this worker's thread only.
  void make_ready(FiberState* fiber) noexcept;
  // A fiber that runs here next: on this worker's thread only.
  void push_woken(FiberState* fiber) noexcept;
  void push_spawned(FiberState* fiber) noexcept;
  // From any thread: runs on this worker.
  void post(FiberState* fiber) noexcept;
  // From any thread: cancels the request of `op` on this worker's ring; `cancel` completes after it has been tried.
  struct CancelRequest : IoOp {
    IoOp* target = nullptr;
    CancelRequest* next = nullptr;
  };
  void post_cancel(CancelRequest& cancel) noexcept;
  // Ends the sleep it is in, or the one it is about to begin.
  void wake() noexcept;

  [[nodiscard]] WorkerCounters counters() const noexcept;
  // Null: nobody wants to know. From any thread.
  [[nodiscard]] Observer* observer() const noexcept { return observer_.load(std::memory_order_acquire); }
  void observe_with(std::unique_ptr<Observer> observer) noexcept {  // once
    observer_.store(observer.release(), std::memory_order_release);
  }
  // The monotonic clock of some milliseconds ago, for the cost of a load.
  [[nodiscard]] std::int64_t coarse_ns() const noexcept { return coarse_ns_.load(std::memory_order_relaxed); }
  void set_coarse_clock(std::int64_t now_ns) noexcept { coarse_ns_.store(now_ns, std::memory_order_relaxed); }

  // Watched from outside.
  [[nodiscard]] std::uint64_t switches() const noexcept { return switches_.load(std::memory_order_relaxed); }
  [[nodiscard]] FiberState* watched_current() const noexcept { return current_.load(std::memory_order_acquire); }
  [[nodiscard]] bool asleep() const noexcept { return sleep_.load(std::memory_order_relaxed) == kAsleep; }
  [[nodiscard]] bool looks_free() const noexcept { return watched_current() == nullptr && inbox_.empty(); }
  [[nodiscard]] bool holds_back() const noexcept {
    return next_.load(std::memory_order_relaxed) != nullptr && !raided_.load(std::memory_order_relaxed);
  }
  // That others may take.
  [[nodiscard]] bool has_woken() const noexcept { return queue_.size() != 0; }
  [[nodiscard]] bool has_spawned() const noexcept;

  std::thread thread;

 private:
  friend class Scheduler;
  friend struct DebugLayoutMaker;
  enum class After : std::uint8_t { kNothing, kPark, kYield, kEnd };
  static constexpr std::uint32_t kPicksPerSubmit = 8;
  static constexpr std::uint32_t kSubmitsPerCheck = 8;
  static constexpr std::uint32_t kInlineInARow = 64;
  static constexpr std::size_t kFiberBatch = 64;
  static constexpr std::size_t kFetchAhead = 8;
  static constexpr std::uint64_t kIdBatch = 1024;
  static constexpr std::uint64_t kFromInjector = 64;
  static constexpr std::uint32_t kAwake = 0, kAsleep = 1, kNotified = 2;
  static constexpr std::uint32_t kNextInARow = 16;
  static constexpr std::size_t kStackMagazine = 16;
  static constexpr std::uint32_t kQueueLength = 1024;  // beyond it a fiber goes the way of the injector
  static constexpr std::uint32_t kRoundsBeforeLook = 32, kMostRoundsBetweenLooks = 64, kRoundsPerYield = 4;
  static constexpr std::size_t kMostHintsStolen = 32;
  static constexpr std::uint32_t kFutileUntilDrowsy = 8;
  static constexpr std::int64_t kWorthStealingNs = 400;  // for each that was spawned
  static constexpr std::int64_t kWorthMovingNs = 2000;   // for those woken that come together
  static constexpr std::uint32_t kMostPatience = 6;

  void fetch_ahead() noexcept;
  FiberState* take_free_fiber();
  void hint_at(FiberState* fiber) noexcept;
  void queue_woken(FiberState* fiber) noexcept;
  static void fiber_main();
  // First code on any context that was switched to.
  void arrive() noexcept;
  void end_current() noexcept;
  // `current`: what becomes of the current fiber. kNothing: there is none. kYield: null leaves it running.
  FiberState* pick(After current) noexcept;
  FiberState* pick_ordinary() noexcept;
  FiberState* pick_classed(After current) noexcept;
  FiberState* pick_own() noexcept;
  FiberState* pick_of_all_kinds() noexcept;
  FiberState* pick_in_between() noexcept;
  FiberState* take_next() noexcept;
  FiberState* take_woken() noexcept;
  FiberState* swap_next(FiberState* fiber) noexcept;
  FiberState* acknowledge_raid(FiberState* before, const FiberState* put) noexcept;
  FiberState* raid() noexcept;
  [[nodiscard]] bool has_fresh() const noexcept {
    return newest_.load(std::memory_order_relaxed) != nullptr || !fresh_.empty();
  }
  FiberState* take_fresh() noexcept;
  FiberState* pick_simulated() noexcept;
  FiberState* take_simulated(std::size_t index) noexcept;
  FiberState* search() noexcept;
  FiberState* steal() noexcept;
  static ForkDeque* forks_of(const FiberState* fiber) noexcept;  // null: none to take
  FiberState* steal_fork(Worker& victim) noexcept;
  void promote_forks(FiberState& fiber) {
    if (fiber.has_forks) [[unlikely]]
      promote_forks_of(fiber);
  }
  void promote_forks_of(FiberState& fiber);
  void take_forks(FiberState& fiber) noexcept;
  FiberState* steal_spawned(Worker& victim) noexcept;
  FiberState* take_from_the_busy() noexcept;
  void judge_steal() noexcept;
  void was_futile() noexcept;
  FiberState* stolen(FiberState* fiber, const Worker& victim, bool woken) noexcept;
  FiberState* look_around(bool spun) noexcept;
  bool waits_for_device() noexcept;
  void sleep() noexcept;
  void check_events() noexcept;
  void note_io(Observer& seen_by) noexcept;
  FiberState* take_injected() noexcept;
  void count_ended() noexcept;
  void enter_thread() noexcept;
  void leave_thread() noexcept;
  bool bind_stack(FiberState& fiber) noexcept;
  [[nodiscard]] bool may_go_on_with(Stack stack, const FiberState& fiber) const noexcept;
  void give_stack(Stack stack) noexcept;
  void give_back_stacks() noexcept;
  void give_back_fibers() noexcept;
  void set_current(FiberState* fiber) noexcept { current_.store(fiber, std::memory_order_release); }
  // From the thread's own context, and back.
  void enter(FiberState* fiber) noexcept;
  void go(Context& from, ExceptionState& exceptions, FiberState* to, bool ends) noexcept;
  void leave(After after, Waiter* waiter, FiberState* to) noexcept;
  void stop_searching() noexcept;
  void queue_or_inject(FiberState* fiber) noexcept;
  static void bump(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  Scheduler& scheduler_;
  FiberPool* const pool_;  // the scheduler's
  const unsigned index_;
  const bool alone_;  // no other worker takes from this one
  std::unique_ptr<Reactor> reactor_;
  SimulatedOrder* order_ = nullptr;
  std::vector<FiberState*> simulated_ready_;

  // The thread's own.
  Context root_;
  ExceptionState root_exceptions_;
  ExceptionState* exceptions_ = nullptr;       // the thread's
  std::atomic<FiberState*> current_{nullptr};  // also watched from outside
  After after_ = After::kNothing;
  FiberState* left_ = nullptr;
  Waiter* left_waiter_ = nullptr;
  Context ended_;  // what is left of a fiber that has ended, until its stack is left or used again
  Stack ended_stack_;
  std::uint32_t picks_ = kPicksPerSubmit;
  std::uint32_t submits_ = kSubmitsPerCheck;
  std::uint32_t inline_run_ = 0;
  bool fresh_turn_ = false;
  std::uint32_t next_run_ = 0;
  std::uint32_t random_ = 0x9E3779B9U;
  bool searching_ = false;
  Classes::Turn turn_;
  Slice slice_;
  std::array<Stack, kStackMagazine> stacks_;
  std::size_t stack_count_ = 0;
  std::array<FiberState*, 4 * kFiberBatch> free_fibers_;
  std::size_t free_count_ = 0;
  ForkDeque* free_forks_ = nullptr;
  std::uint64_t next_id_ = 0;
  std::uint64_t last_id_ = 0;
  std::vector<std::uint64_t> seen_switches_;  // of all workers, when the search began
  std::int64_t stole_at_ns_ = 0;              // 0: not since the last search
  std::uint64_t stole_at_switches_ = 0;
  bool stole_woken_ = false;
  std::uint32_t patience_ = 0;     // steals in a row of woken ones that were not worth it
  std::uint32_t futile_ = 0;       // searches in a row that were not worth it
  bool was_woken_ = false;         // by another, and has found nothing since
  std::uint64_t device_seen_ = 0;  // Reactor::device_ended() when the last search began
  bool for_device_ = false;        // that search waits for a device, and so does the sleep after it
  std::uint64_t noted_submitted_ = 0;
  std::uint64_t noted_completed_ = 0;
  FiberState* pinned_head_ = nullptr;  // ready pinned fibers, first in first out
  FiberState* pinned_tail_ = nullptr;

  // Shared with thieves and wakers.
  alignas(64) std::atomic<FiberState*> next_{nullptr};  // written by the owner only
  std::atomic<bool> raided_{false};  // the owner has not seen yet that somebody took what is in next_
  Spinlock raid_lock_;
  FiberState* raid_took_ = nullptr;           // guarded by raid_lock_; set while raided_
  std::atomic<FiberState*> newest_{nullptr};  // written by the owner only
  LocalQueue<FiberState, kQueueLength> queue_;
  WorkDeque<FiberState> fresh_{256};
  Injector inbox_;
  Spinlock cancels_lock_;
  CancelRequest* cancels_ = nullptr;  // guarded by cancels_lock_
  std::atomic<bool> has_cancels_{false};
  Timers timers_;
  alignas(64) std::atomic<std::uint32_t> sleep_{kAwake};

  // Written by the own thread only.
  alignas(64) std::atomic<std::uint64_t> switches_{0};
  std::atomic<std::uint64_t> parks_{0};
  std::atomic<std::uint64_t> steals_{0};
  std::atomic<std::uint64_t> sleeps_{0};
  std::atomic<std::uint64_t> spawned_{0};
  std::atomic<std::uint64_t> ended_count_{0};
  std::atomic<std::uint64_t> wakes_sent_{0};
  std::atomic<std::uint64_t> searches_{0};
  std::atomic<std::uint64_t> injected_{0};
  std::atomic<std::int64_t> coarse_ns_{0};  // also written by the watchdog
  std::atomic<int> thread_id_{0};           // the kernel's
  std::atomic<Observer*> observer_{nullptr};
};

}  // namespace weft::sched
