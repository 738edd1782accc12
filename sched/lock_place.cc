#include "sched/lock_place.h"

#ifdef WEFT_LOCK_ORDER

#include "sched/current.h"
#include "sched/fiber.h"

namespace weft::sched {
namespace {

// A plain thread's own; a fiber has them with it wherever it runs.
HeldLocks& held_here() noexcept {
  if (FiberState* fiber = current_fiber(); fiber != nullptr) return fiber->held_locks;
  thread_local HeldLocks of_thread;
  return of_thread;
}

}  // namespace

void LockPlace::may_wait() const noexcept {
  if (rank_.number != 0) held_here().may_wait_for(rank_, order_);
}
void LockPlace::took() const noexcept {
  if (rank_.number != 0) held_here().add(this, rank_, order_);
}
void LockPlace::let_go() const noexcept {
  if (rank_.number != 0) held_here().remove(this);
}

}  // namespace weft::sched

#endif
