// mem/biased_lock.cc - see biased_lock.h.
#include "mem/biased_lock.h"

#include <sched.h>

#include "kernel/spinlock.h"
#include "mem/system_memory.h"

namespace weft::mem {

bool BiasedLock::try_visit() noexcept {
  // So an owner who waits for one visitor does not wait for the next.
  if (use() != Use::kNone) return false;
  visited_.store(true, std::memory_order_seq_cst);
  if (system::barrier_on_all_threads() && use() == Use::kNone) return true;
  end_visit();
  return false;
}

void BiasedLock::wait_for_visitor(Use use) noexcept {
  do {
    say(Use::kWaits);
    for (int round = 0; visited_.load(std::memory_order_acquire); ++round) {
      if (round < 64) {
        cpu_relax();
      } else {
        sched_yield();
      }
    }
    say(use);
  } while (visited_.load(std::memory_order_acquire));
}

}  // namespace weft::mem
