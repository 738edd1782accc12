// sched/observer.h - what a worker writes down of each switch while somebody wants to know: latencies and a trace. Internal to sched/.
//
//   worker  ->  [observer]  ->  RuntimeReport (latencies), trace.cc (events)
//
// A worker without an observer pays a load and a branch that is always taken the same way. With one, a switch reads the clock.
// Events go to a ring that keeps the newest; each has a copy of its fiber's name, which may have ended when the trace is read.
//
// Invariants   V1  once made, an observer lives as long as its worker
// Locks        lock_: a leaf, for the reader's sake; its owner hardly ever finds it taken
// Thread-safety: one owner, who calls runs(), leaves() and notes; latencies() and take_trace() from any thread. The one for
// threads that are no workers is shared: its events only, by note().
// Tests: tests/sched/trace_test.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "kernel/spinlock.h"
#include "sched/latency.h"

namespace weft::sched {

struct FiberState;

enum class TraceKind : std::uint8_t {
  kRun,      // the fiber begins a slice
  kYield,    // and ends it: ready still,
  kPark,     // waiting for `reason`,
  kEnd,      // or for ever
  kWake,     // is ready again, by fiber `other`
  kSpawn,    // is new, by fiber `other`
  kSteal,    // was taken from worker `other`
  kSleep,    // the worker's thread goes to sleep in its ring
  kAwake,    // and comes back
  kSubmit,   // `other` requests go to the kernel
  kComplete  // `other` completions came from it
};

struct TraceEvent {
  std::int64_t at_ns = 0;
  std::uint64_t fiber = 0;  // its id, 0: none
  std::uint64_t other = 0;
  const char* reason = nullptr;  // a literal
  char name[31] = {};            // of the fiber
  TraceKind kind = TraceKind::kRun;
};
static_assert(sizeof(TraceEvent) == 64);

class Observer {
 public:
  explicit Observer(bool with_latencies) : with_latencies_(with_latencies) {}
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  // A slice of a fiber: its begin and its end.
  void runs(const FiberState& fiber, std::int64_t now_ns) noexcept;
  void leaves(FiberState& fiber, TraceKind how, std::int64_t now_ns) noexcept;
  // One begins where another ends, without a switch.
  void goes_over(FiberState& from, const FiberState& to, TraceKind how, std::int64_t now_ns) noexcept {
    leaves(from, how, now_ns);
    runs(to, now_ns);
  }
  // Before it is queued. `by` null: no fiber.
  void becomes_ready(FiberState& fiber, TraceKind how, const FiberState* by, std::int64_t now_ns) noexcept;
  void note(TraceKind kind, const FiberState* fiber, std::uint64_t other, std::int64_t now_ns) noexcept;

  void start_trace(std::size_t events);
  // What was kept, oldest first, and no more from now on.
  [[nodiscard]] std::vector<TraceEvent> take_trace();
  [[nodiscard]] bool tracing() const noexcept { return tracing_.load(std::memory_order_relaxed); }

  [[nodiscard]] const LatencyCounts& wait_to_run() const noexcept { return wait_to_run_; }
  [[nodiscard]] const LatencyCounts& slices() const noexcept { return slices_; }

 private:
  const bool with_latencies_;
  std::int64_t slice_began_ns_ = 0;
  LatencyCounts wait_to_run_;
  LatencyCounts slices_;

  std::atomic<bool> tracing_{false};
  Spinlock lock_;                 // guards all below
  std::vector<TraceEvent> ring_;  // of its full size
  std::uint64_t written_ = 0;
};

}  // namespace weft::sched
