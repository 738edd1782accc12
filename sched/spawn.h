// sched/spawn.h - starts fibers, and what the running one may do: sleep, yield, ask whether to stop.
//
//   sched::Fiber flusher = sched::spawn("flusher", [&] { ... });      flusher.join();
//
// On a fiber, spawn() starts another in the same runtime. On a plain thread there is no runtime, and spawn() starts a plain
// thread that stands in for the fiber: code written for fibers runs as it is in a program or unit test without a Runtime. To
// start a fiber from a plain thread use Runtime::spawn().
//
// All functions from any fiber or thread. A Fiber handle is one owner's, as std::thread is.
// Tests: tests/sched/runtime_test.cc.
#pragma once

#include <chrono>
#include <exception>
#include <string_view>
#include <utility>

#include "kernel/result.h"
#include "sched/body.h"
#include "sched/deadline.h"

namespace weft::sched {

struct FiberState;

// A handle: join() or detach() before its destruction.
class Fiber {
 public:
  Fiber() noexcept = default;
  explicit Fiber(FiberState* state) noexcept : state_(state) {}  // internal: takes over a reference
  Fiber(Fiber&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Fiber& operator=(Fiber&& other) noexcept;
  ~Fiber();

  [[nodiscard]] bool joinable() const noexcept { return state_ != nullptr; }
  // Parks until the fiber has ended; throws what its body threw, if it did.
  void join();
  // The same at most until then: kTimedOut or kCancelled leave it joinable. Does not throw: an exception comes out of join().
  Status wait_until(Deadline deadline);
  // It goes on by itself; if its body throws, the process ends.
  void detach() noexcept;
  // Asks it to stop: its blocking calls that return a Status (now and from now on) fail with kCancelled, and
  // stop_requested() is true on it.
  void request_stop() noexcept;

 private:
  FiberState* state_ = nullptr;
};

// `name` (31 bytes of it are kept) is for people.
Fiber spawn(std::string_view name, Body body);
// Runs on the worker of that index only; on a plain thread as spawn().
Fiber spawn_pinned(unsigned worker_index, std::string_view name, Body body);

// Of the runtime of the calling fiber; 1 and 0 on a plain thread. The index may be another after any call that parks.
unsigned worker_count() noexcept;
unsigned worker_index() noexcept;

// Lets others run first.
void yield() noexcept;
// kCancelled when the fiber is asked to stop meanwhile.
Status sleep_until(Deadline deadline);
Status sleep_for(std::chrono::nanoseconds duration);
// Whether somebody has asked the calling fiber, or the thread that stands in for one, to stop.
bool stop_requested() noexcept;
// True on a fiber, false on a plain thread.
bool on_fiber() noexcept;

// While it lives the calling fiber stays on its worker, for code that keeps thread-local state (errno, foreign libraries)
// across a park. Ends on the fiber that began it. No effect on a plain thread.
class NoMigrate {
 public:
  NoMigrate() noexcept;
  ~NoMigrate();
  NoMigrate(const NoMigrate&) = delete;
  NoMigrate& operator=(const NoMigrate&) = delete;

 private:
  bool pinned_here_ = false;
  bool stopped_roaming_ = false;
};

}  // namespace weft::sched
