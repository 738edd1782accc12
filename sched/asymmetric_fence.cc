#include "sched/asymmetric_fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace weft::sched {

namespace internal {
std::atomic<bool> fences_are_asymmetric{false};
}  // namespace internal

void prepare_asymmetric_fences() noexcept {
  static const bool granted = [] {
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0) return false;
    internal::fences_are_asymmetric.store(true, std::memory_order_relaxed);
    return true;
  }();
  (void)granted;
}

bool heavy_fence() noexcept {
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!internal::fences_are_asymmetric.load(std::memory_order_relaxed)) return true;
  return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) == 0;
}

}  // namespace weft::sched
