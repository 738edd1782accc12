// sched/stand_in.h - the plain thread that stands in for a fiber where there is no runtime. Internal to sched/.
//
// spawn() on a plain thread starts one. It has a FiberState as a fiber has, for what is a fiber's and not its thread's: requests
// to stop, fiber-locals, the join. Tests: tests/sched/stand_in_test.cc.
#pragma once

#include "sched/current.h"

namespace weft::sched {

// Null on a worker's thread, and on a thread that spawn() has not started.
FiberState* current_stand_in() noexcept;
void set_current_stand_in(FiberState* state) noexcept;

// The calling fiber or stand-in; null on other threads.
inline FiberState* current_self() noexcept {
  FiberState* fiber = current_fiber();
  return fiber != nullptr ? fiber : current_stand_in();
}

}  // namespace weft::sched
