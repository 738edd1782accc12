// sched/classes.h - who is next among fibers that are not just ordinary: strict classes, and groups fair by shares. Internal.
//
//   ready fiber -> ordinary: the worker's own queues          pick() -> worker
//               -> of a group, high or idle: [classes]
//
// One for all workers of a runtime, under one lock: so shares hold over all of them together, and nothing here is ever stolen.
// Ordinary fibers never come here. Together they are one group among the others, of kDefaultShares, whose queues are the
// workers'; while no fiber of a group is active and no high one ready (attention() is 0), a worker does not even look here.
//
// Groups are fair in virtual time, as Linux's CFS is (I. Molnar, 2007; stride scheduling, Waldspurger and Weihl 1995): a
// group's virtual clock goes by the CPU time it had over its shares, and the one behind is next. A group that wakes is put
// level with the least of the active ones, if it is behind: sleep saves nothing up. Nor does one that cannot use its share:
// bound_lag(). (Which is what Surplus Fair Scheduling solves by weights: Chandra, Adler, Goyal, Shenoy 2000.) CPU time is measured by the clock when a
// worker goes from one fiber to the next, and for ordinary ones once in a turn of kTurn.
//
// Invariants   L1  virtual_ns of a group only grows while it has members; floor_ns_ only grows
//              L2  a group is in active_ if and only if its `active` is not 0
//              L3  a worker's turn is closed, and its time charged, in the first pick() after it, or in ends()
// Locks        lock_: a leaf; not held while ordinary fibers are looked for
// Never parks. Thread-safe; a Turn is its worker's own. Times are the caller's: tests give their own.
// Tests: tests/sched/classes_test.cc.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "kernel/function_ref.h"
#include "kernel/spinlock.h"
#include "sched/fiber.h"
#include "sched/group_state.h"

namespace weft::sched {

struct GroupReport;

class Classes {
 public:
  // How long one goes on before another is considered: ordinary fibers together, and a fiber that calls checkpoint().
  static constexpr std::int64_t kTurnNs = 500'000;
  // After so long of high ones only, a worker gives the others one turn.
  static constexpr std::int64_t kHighRunNs = 10'000'000;
  // So long the first idle fiber waits at most, then one gets in between the others.
  static constexpr std::int64_t kIdlePatienceNs = 1'000'000'000;

  // After so long a worker gives a turn to ordinary fibers, and one to the fiber that has been ready for it the longest, even
  // where by shares it is others' turn: shares hold over all workers, a fiber bound to this one has no other.
  static constexpr std::int64_t kPatienceNs = 50'000'000;
  // How far one may be behind the one that is furthest ahead, in virtual time; and in steps of the longest of them.
  static constexpr std::int64_t kLeastLagNs = 10'000'000;
  static constexpr std::int64_t kStepsOfLag = 8;

  // What a worker runs now.
  struct Turn {
    enum class Of : std::uint8_t { kNobody, kOrdinary, kGroup, kHigh, kIdle };
    Of of = Of::kNobody;
    Of last = Of::kNobody;  // what the last one was of, if nobody else came since
    bool look =
        false;  // the worker's next is picked here, whatever attention() says: a turn is open, or idle ones wait
    bool granted = false;        // high ones wait for its end
    bool ordinary_seen = false;  // counted in ordinary_workers_
    GroupState* group = nullptr;
    std::int64_t began_ns = 0;
    std::int64_t ends_ns = 0;
    std::int64_t others_at_ns = 0;    // when something else than high ones was last considered
    std::int64_t ordinary_at_ns = 0;  // when ordinary ones were last looked for
    std::int64_t oldest_at_ns = 0;    // when overdue() last looked
    std::uint64_t oldest_order = 0;   // what was queued before that is overdue by then
    [[nodiscard]] bool open() const noexcept { return of != Of::kNobody; }
  };
  // Who the worker comes from: null in its own loop, and after a fiber that has ended. `stays`: it yields, and is not queued yet.
  struct Leaving {
    FiberState* fiber = nullptr;
    bool stays = false;
  };

  Classes() noexcept;
  Classes(const Classes&) = delete;
  Classes& operator=(const Classes&) = delete;

  // The number by which groups know this runtime.
  [[nodiscard]] std::uint64_t serial() const noexcept { return serial_; }
  // Not 0: every worker picks by pick().
  [[nodiscard]] std::uint64_t attention() const noexcept { return attention_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool high_waits() const noexcept { return high_ready_.load(std::memory_order_relaxed) != 0; }
  [[nodiscard]] bool idle_waits() const noexcept { return idle_ready_.load(std::memory_order_relaxed) != 0; }
  // Ready ones that any worker may run, idle ones too. Comes before or after a sleeper's look in one order (R2 in worker.h).
  [[nodiscard]] bool has_any() const noexcept { return any_ready_.load(std::memory_order_acquire) != 0; }
  // The same, or that this one must.
  [[nodiscard]] bool has_for(unsigned worker) noexcept;

  // For people.
  [[nodiscard]] std::vector<GroupReport> groups();
  [[nodiscard]] std::uint64_t high_ready() const noexcept { return high_ready_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t idle_ready() const noexcept { return idle_ready_.load(std::memory_order_relaxed); }

  // Queues a fiber that is not ordinary. `lane`: the worker that must run it, or LanedQueue::kAnyWorker. `came`: from a wait or
  // spawn, not by a yield.
  void push(FiberState* fiber, int lane, bool came) noexcept;
  // Closes the worker's turn and begins the next. `take_ordinary` gives the worker's next ordinary fiber, or null. Null: none is
  // ready but idle ones, or the one that stays goes on.
  FiberState* pick(Turn& turn, unsigned worker, std::int64_t now_ns, Leaving leaving,
                   FunctionRef<FiberState*()> take_ordinary) noexcept;
  // Before a fiber's end is told, and its memory another's: closes the turn. The next pick() comes from nobody.
  void ends(Turn& turn, const FiberState& fiber, std::int64_t now_ns) noexcept;
  // When nothing else is to be had, by a worker in its own loop.
  FiberState* pick_idle(Turn& turn, unsigned worker, std::int64_t now_ns) noexcept;

 private:
  void close(Turn& turn, std::int64_t now_ns) noexcept;
  FiberState* open(Turn& turn, Turn::Of of, FiberState* fiber, std::int64_t now_ns) noexcept;
  void saw_ordinary(Turn& turn) noexcept;
  void forget_ordinary(Turn& turn) noexcept;
  void left(const FiberState& fiber) noexcept;  // parks or ends
  void bound_lag() noexcept;
  GroupState* overdue(Turn& turn, unsigned worker, std::int64_t now_ns) noexcept;
  // The active group that is furthest behind, of those with a fiber for the worker (`staying`: that one, too).
  GroupState* furthest_behind(unsigned worker, const GroupState* staying) noexcept;
  FiberState* pop(LanedQueue& from, unsigned worker) noexcept;
  FiberState* pop_high(unsigned worker) noexcept;
  FiberState* pop_idle(unsigned worker, std::int64_t now_ns) noexcept;
  bool idle_overdue(std::int64_t now_ns) noexcept;

  const std::uint64_t serial_;
  Spinlock lock_;                    // guards all below but for reads of atomics
  std::vector<GroupState*> active_;  // a handful: looked through at each pick
  GroupState ordinary_;
  std::uint64_t ordinary_workers_ = 0;  // that had ordinary fibers when they last looked
  std::int64_t floor_ns_ = 0;           // the least virtual time among active groups, when it was last looked at
  std::uint64_t order_ = 0;
  LanedQueue high_;
  LanedQueue idle_;
  std::int64_t idle_since_ns_ = 0;  // an idle one has been waiting since then; 0: none, or since the next look

  alignas(64) std::atomic<std::uint64_t> attention_{0};
  std::atomic<std::uint64_t> high_ready_{0};
  std::atomic<std::uint64_t> idle_ready_{0};
  alignas(64) std::atomic<std::uint64_t> any_ready_{0};
};

}  // namespace weft::sched
