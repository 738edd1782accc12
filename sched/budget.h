// sched/budget.h - keeps calls of ours that may succeed for ever without parking from starving others. Internal to sched/.
//
// Two fibers on two workers can feed each other through a channel without ever waiting. So of such operations one in
// Slice::kOperationsPerCheckpoint is a checkpoint() (scheduling.h). Channels, select, semaphores and calls on
// sockets do this; a mutex that is
// free does not (two nanoseconds are a third of its price), nor do calls named try_.
// Tests: tests/sched/checkpoint_test.cc.
#pragma once

namespace weft::sched {

// May yield: not with a spinlock held. Does nothing on a plain thread. Thread- and fiber-safe.
void spend_budget() noexcept;

}  // namespace weft::sched
