// sched/timer.h - work at a later time, and again and again.
//
//   sched::Timer flush("flush", Deadline::after(1s), 1s, [&] { cache.flush(); });     // a callback, on a fiber of its own
//   flush.cancel();                                                                   // it does not run any more
//
//   sched::Ticker tick(10ms);                                                         // for a loop of one's own
//   while (tick.wait()) sample();
//   select(tick.next(), ...)                                                          // its next time as a deadline: then advance()
//
// A period counts from the first time, so it does not drift; times that have passed while the work took too long are left out.
// From fibers, plain threads (a thread stands in for the fiber) and in a Simulation. Tests: tests/sched/timer_test.cc.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string_view>

#include "kernel/result.h"
#include "sched/deadline.h"
#include "sched/spawn.h"

namespace weft::sched {

class Timer {
 public:
  // Once, perhaps before the constructor has returned. If `callback` throws, the process ends.
  Timer(std::string_view name, Deadline at, std::move_only_function<void()> callback)
      : Timer(name, at, std::chrono::nanoseconds::zero(), std::move(callback)) {}
  // And then at each period, which is above zero; zero: once.
  Timer(std::string_view name, Deadline first, std::chrono::nanoseconds period,
        std::move_only_function<void()> callback);
  // Cancels.
  ~Timer() { cancel(); }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // When it returns, the callback does not run and will not: parks while it runs. From within the callback it returns at once,
  // and this run is the last. Again: no effect. By one fiber at a time.
  void cancel();

 private:
  struct State;
  std::shared_ptr<State> state_;
  Fiber fiber_;
};

class Ticker {
 public:
  // The first time is a period from now. Above zero.
  explicit Ticker(std::chrono::nanoseconds period) noexcept : Ticker(period, Deadline::after(period)) {}
  Ticker(std::chrono::nanoseconds period, Deadline first) noexcept : period_(period), next_(first) {}

  [[nodiscard]] Deadline next() const noexcept { return next_; }
  // To the first time that has not passed yet.
  void advance() noexcept;
  // Until the next time, and advances. Parks; kCancelled when the fiber is asked to stop.
  Status wait();

 private:
  std::chrono::nanoseconds period_;
  Deadline next_;
};

}  // namespace weft::sched
