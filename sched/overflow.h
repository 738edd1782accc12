// sched/overflow.h - says which fiber has overflowed its stack, where a bare SIGSEGV would leave one to guess. Internal to sched/.
//
//   fault in a guard  ->  [handler, on the worker's signal stack]  ->  message  ->  the handler there was before, or the default action
//
// A fault is an overflow if it lies in the guard of the stack that the faulting thread's fiber runs on. Any other is passed on
// untouched, and so dies, dumps core or is handled exactly as without this file. Under AddressSanitizer and ThreadSanitizer,
// which have handlers of their own, all of it does nothing.
//
// Invariants   O1  the handler is installed while at least one OverflowWatch lives, and no longer, unless the program has put its
//                  own in our place
//              O2  what the handler does is async-signal-safe
// Thread-safe. Nothing parks. Tests: tests/sched/overflow_test.cc.
#pragma once

#include "sched/inspect.h"

namespace weft::sched {

// One for each runtime that wants reports.
class OverflowWatch {
 public:
  explicit OverflowWatch(OverflowReport wanted) noexcept;
  ~OverflowWatch();
  OverflowWatch(const OverflowWatch&) = delete;
  OverflowWatch& operator=(const OverflowWatch&) = delete;

  [[nodiscard]] bool installed() const noexcept { return installed_; }

 private:
  bool installed_ = false;
};

// A place for the handler to run on, since the fiber's stack is full: of the thread that makes it, until its end. Where there is
// no memory for one, a fault ends the process without a report.
class SignalStack {
 public:
  explicit SignalStack(bool wanted) noexcept;
  ~SignalStack();
  SignalStack(const SignalStack&) = delete;
  SignalStack& operator=(const SignalStack&) = delete;

 private:
  void* mapped_ = nullptr;
};

}  // namespace weft::sched
