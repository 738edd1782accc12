// sched/signal.h - waits for a signal as for any other event.
//
//   sched::SignalSet stop({SIGINT, SIGTERM});         // in main(), before any other thread starts
//   int signal = TRY(stop.wait());                    // on a fiber
//
// The constructor blocks the signals for the calling thread and all it starts later, so that they wait to be taken here. They
// stay blocked after its end; a program that Process starts has none blocked.
//
// Any fibers and threads may wait at once, those of several runtimes too, on one set or on several: each signal is taken by
// one of them. To tell several runtimes of a SIGTERM, let one take it and pass it on. Parks. Tests: tests/sched/io_test.cc.
#pragma once

#include <initializer_list>

#include "kernel/result.h"
#include "sched/deadline.h"

namespace weft::sched {

class SignalSet {
 public:
  SignalSet(std::initializer_list<int> signals) noexcept;
  ~SignalSet();
  SignalSet(const SignalSet&) = delete;
  SignalSet& operator=(const SignalSet&) = delete;

  // Its number. kTimedOut, kCancelled; kIo if the descriptor could not be made.
  Result<int> wait(Deadline deadline = Deadline::never());

 private:
  int fd_ = -1;
};

}  // namespace weft::sched
