// sched/fiber.h - what the scheduler keeps of one fiber. Internal to sched/; users hold a sched::Fiber (spawn.h).
//
//   spawn -> [FiberState] queued -> running <-> parked ... -> ended -> joined
//
// The stack is bound when it first runs, so that a queue of spawned fibers costs no stacks.
//
// Invariants   F1  queued in at most one place, and only while its context is saved
//              F2  one reference is the scheduler's until it has ended, one the handle's
//              F3  the body and its captures are destroyed on the fiber, before it counts as ended
// Locks        join_lock, cancel_lock: leaves, each guards the fields named after it
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <functional>
#include <string_view>
#include <thread>

#include "kernel/lock_order.h"
#include "kernel/spinlock.h"
#include "sched/context.h"
#include "sched/stack.h"
#include "sched/waiter.h"

namespace weft::sched {

class Worker;
class Scheduler;
struct FiberExtras;

enum class FiberPhase : std::uint8_t { kQueued, kRunning, kParked, kEnded };

struct FiberState {
  Context context;
  FiberState* queue_next = nullptr;      // in an injector; guarded by its lock
  Scheduler* scheduler = nullptr;        // null: a plain thread stands in for the fiber
  std::atomic<Worker*> pinned{nullptr};  // runs nowhere else
  Stack stack;
  std::size_t stack_bytes = 0;  // wanted; 0: the runtime's usual size
  std::move_only_function<void()> body;

  std::atomic<FiberPhase> phase{FiberPhase::kQueued};  // for people
  std::atomic<const char*> wait_reason{nullptr};
  std::uint64_t id = 0;
  std::int64_t ready_ns = 0;  // when it was last made ready, if somebody observes; by the one who does that

  Spinlock cancel_lock;
  std::atomic<bool> stop_requested{false};  // set under cancel_lock
  Waiter* cancellable = nullptr;
  FiberExtras* extras = nullptr;   // changes under cancel_lock; null until wanted
  bool in_stop_callbacks = false;  // its own: a Simulation draws nobody else meanwhile

  Spinlock join_lock;
  bool ended = false;
  WaitQueue joiners;
  std::exception_ptr exception;  // written before `ended`, taken by the joiner

  FiberState* registry_next = nullptr;  // the scheduler's list of all; guarded by the shard's lock
  FiberState* registry_previous = nullptr;
  std::atomic<std::uint32_t> references{2};
  std::thread thread;  // stands in where there is no runtime
#ifdef WEFT_LOCK_ORDER
  HeldLocks held_locks;
#endif
  char name[32] = {};

  FiberState(std::string_view fiber_name, std::move_only_function<void()> what);
  void ref() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept;
  // Runs the body and keeps what it throws.
  void run_body() noexcept;
  // Tells the joiners. The caller has a reference of its own.
  void finish() noexcept;
  // Until ended: kNotified, or why not.
  Outcome wait_ended(Deadline deadline, bool cancellable_wait) noexcept;
  void request_stop() noexcept;
};

}  // namespace weft::sched
