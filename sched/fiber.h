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
//              F5  with `shares_stack` it runs above the frames of the fiber that joins it, which goes on when it has ended
// Locks        join_lock, cancel_lock: leaves, each guards the fields named after it
#pragma once

#include <atomic>
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

enum class FiberPhase : std::uint8_t { kQueued, kRunning, kParked, kEnded };

struct FiberState {
  Context context;
  ExceptionState exceptions;             // while it does not run
  FiberState* queue_next = nullptr;      // in an injector (guarded by its lock) or a list of free ones
  Scheduler* scheduler = nullptr;        // null: a plain thread stands in for the fiber
  FiberPool* pool = nullptr;             // null likewise
  std::atomic<Worker*> pinned{nullptr};  // runs nowhere else
  Stack stack;
  std::size_t stack_bytes = 0;  // wanted; 0: the runtime's usual size
  bool shares_stack = false;
  std::atomic<bool> claimable{false};  // has not begun, and is hinted at

  std::atomic<FiberPhase> phase{FiberPhase::kEnded};  // for people
  std::atomic<std::uint32_t> references{0};           // 0: free
  std::uint64_t id = 0;
  std::int64_t ready_ns = 0;  // when it was last made ready, if somebody observes; by the one who does that

  // For people: of the wait it is in, or was in last.
  std::atomic<const char*> wait_reason{nullptr};
  std::atomic<const void*> waits_for{nullptr};
  std::atomic<std::int64_t> parked_at_ns{0};  // by the worker's coarse clock
  std::atomic<std::int64_t> wait_ends_ns{0};
  std::atomic<std::uint64_t> spawned_by{0};  // a fiber's id, 0: none

  // How it is scheduled (classes.h); the fiber's own, unchanged while it is queued.
  bool classed = false;  // of a group, high or idle: queued there, not in a worker
  SchedulingClass scheduling_class{};
  GroupState* group = nullptr;    // a reference of ours; null: ordinary
  std::uint64_t ready_order = 0;  // while it is queued there; guarded by its lock

  Spinlock cancel_lock;
  Spinlock join_lock;
  bool ended = false;                       // guarded by join_lock
  std::atomic<bool> stop_requested{false};  // set under cancel_lock
  Waiter* cancellable = nullptr;
  FiberExtras* extras = nullptr;   // changes under cancel_lock; null until wanted
  bool in_stop_callbacks = false;  // its own: a Simulation draws nobody else meanwhile
  WaitQueue joiners;
  std::exception_ptr exception;  // written before `ended`, taken by the joiner

  std::atomic<ForkDeque*> forks{nullptr};  // with its first fork, until its end; thieves look there
  Body body;
  char name[32] = {};
  std::thread thread;  // stands in where there is no runtime
#ifdef WEFT_LOCK_ORDER
  HeldLocks held_locks;
#endif

  // Makes a free one a new fiber, with two references. What a fiber has is reset here, not in a constructor.
  void begin(std::string_view fiber_name, Body what) noexcept;
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
  // Its group and class, from its spawner (null: an outsider) and the options given, if any; until its end. scheduling.cc.
  void begin_scheduling(const FiberState* parent, const SpawnOptions* options, std::uint64_t runtime) noexcept;
  void end_scheduling() noexcept;
};

}  // namespace weft::sched
