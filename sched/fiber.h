// sched/fiber.h - what the scheduler keeps of one fiber. Internal to sched/; users hold a sched::Fiber (spawn.h).
//
//   spawn -> [FiberState] queued -> running <-> parked ... -> ended -> joined
//
// The stack is bound when it first runs, so that a queue of spawned fibers costs no stacks. The memory is a FiberPool's, used
// again for other fibers, and never anything else while the pool lives: so an old hint to it can be followed (F4).
//
// Invariants   F1  queued in at most one place, and only while its context is saved
//              F2  one reference is the scheduler's until it has ended, one the handle's
//              F3  the body and its captures are destroyed on the fiber, before it counts as ended
//              F4  a fiber that has not begun is not queued but hinted at, from any number of places; whoever claim()s it,
//                  and only he, runs it. A hint may be old and lead to a later fiber in the same memory: that one then has not
//                  begun either, waits in the same scheduler, and is as well run by whoever came that way.
//              F5  one that nobody has begun may run above the frames of the fiber that joins it, which goes on when it has ended
// Locks        join_lock, cancel_lock: leaves, each guards the fields named after it
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <string_view>
#include <thread>

#include "kernel/lock_order.h"
#include "kernel/spinlock.h"
#include "sched/body.h"
#include "sched/context.h"
#include "sched/exception_state.h"
#include "sched/stack.h"
#include "sched/waiter.h"

namespace weft::sched {

class Worker;
class Scheduler;
struct FiberExtras;
class FiberPool;
class ForkDeque;
struct GroupState;
struct SpawnOptions;
enum class SchedulingClass : std::uint8_t;

// The wait reason of a fiber on whose stack the one runs that it joins.
inline constexpr char kJoinsInline[] = "join (runs it)";
// That of one that is queued for a stack rather than for its turn.
inline constexpr char kWaitsForStack[] = "stack";

inline constexpr std::size_t kStackPage = 4096;

enum class FiberPhase : std::uint8_t { kQueued, kRunning, kParked, kEnded };

// The order of its fields is that of cache lines, because a batch of fibers costs what it moves of memory: a start writes the first
// three, a fiber that runs above its joiner and never parks needs the first two. What only a few fibers use is behind, clean while a
// fiber is free, and not reset by begin().
struct alignas(64) FiberState {
  // At each switch.
  Context context;
  ExceptionState exceptions;  // while it does not run
  Stack stack;
  std::atomic<Worker*> pinned{nullptr};               // runs nowhere else
  std::atomic<std::uint32_t> references{0};           // 0: free
  std::uint16_t stack_pages = 0;                      // wanted; 0: the runtime's usual size
  std::atomic<FiberPhase> phase{FiberPhase::kEnded};  // for people
  std::atomic<bool> claimable{false};                 // has not begun, and is hinted at
  bool classed = false;                               // of a group, high or idle: queued there, not in a worker
  bool has_forks = false;                             // its own: `forks` is not null
  bool has_extras = false;                            // its own: `extras` is not null
  bool failed = false;                                // there is an `exception`; written before `ended`
  std::atomic<bool> stop_requested{false};            // set under cancel_lock
  bool ended = false;                                 // guarded by join_lock
  Spinlock join_lock;

  // From start to end.
  Body body;
  Scheduler* scheduler = nullptr;  // null: a plain thread stands in for the fiber
  FiberPool* pool = nullptr;       // null likewise

  std::uint64_t id = 0;
  char name[32] = {};
  std::atomic<std::uint64_t> spawned_by{0};  // a fiber's id, 0: none
  FiberState* queue_next = nullptr;          // in an injector (guarded by its lock) or another list of ready ones
  std::atomic<ForkDeque*> forks{nullptr};    // with its first fork, until its end; thieves look there

  // Of the wait it is in, or was in last; but for the joiners, for people, who look when it is parked.
  WaitQueue joiners;  // guarded by join_lock
  std::atomic<const char*> wait_reason{nullptr};
  std::atomic<const void*> waits_for{nullptr};
  std::atomic<std::int64_t> parked_at_ns{0};  // by the worker's coarse clock
  std::atomic<std::int64_t> wait_ends_ns{0};
  WaitWord wait;
  Spinlock cancel_lock;
  bool in_stop_callbacks = false;  // its own: a Simulation draws nobody else meanwhile
  SchedulingClass scheduling_class{};

  std::int64_t ready_ns = 0;      // when it was last made ready, if somebody observes; by the one who does that
  FiberExtras* extras = nullptr;  // changes under cancel_lock; null until wanted
  std::exception_ptr exception;   // taken by the joiner
  // How it is scheduled (classes.h), with `classed` and `scheduling_class`; the fiber's own, unchanged while it is queued.
  GroupState* group = nullptr;    // a reference of ours; null: ordinary
  std::uint64_t ready_order = 0;  // while it is queued there; guarded by its lock
  std::thread thread;             // stands in where there is no runtime
#ifdef WEFT_LOCK_ORDER
  HeldLocks held_locks;
#endif

  [[nodiscard]] std::size_t stack_bytes() const noexcept { return stack_pages * kStackPage; }
  void want_stack(std::size_t bytes) noexcept;
  // Makes a free one a new fiber, with two references. What a fiber has is reset here, not in a constructor.
  void begin(std::string_view fiber_name, Body&& what) noexcept;
  // True for the one who may run a fiber that has not begun.
  bool claim() noexcept {
    return claimable.load(std::memory_order_relaxed) && claimable.exchange(false, std::memory_order_acq_rel);
  }
  void ref() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
  // False: it is free.
  bool try_ref() noexcept;
  void unref(std::uint32_t count = 1) noexcept;
  // Runs the body and keeps what it throws.
  void run_body() noexcept;
  // Tells the joiners. The caller has a reference of its own.
  void finish() noexcept;
  // Until ended: kNotified, or why not.
  Outcome wait_ended(Deadline deadline, bool cancellable_wait) noexcept;
  void request_stop() noexcept;
  void cancel_wait() noexcept;
  // Its group and class, from its spawner (null: an outsider) and the options given, if any; until its end. scheduling.cc.
  void begin_scheduling(const FiberState* parent, const SpawnOptions* options, std::uint64_t runtime) noexcept;
  void end_scheduling() noexcept;
};

}  // namespace weft::sched
