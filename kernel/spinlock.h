// kernel/spinlock.h - a lock for a few instructions, held across nothing that may park, block or allocate.
//
// Lockable as std::lock_guard wants it. Gives way to other threads after a short spin, because on a busy machine the
// holder may have been preempted. Thread-safe; not recursive; not fair.
#pragma once

#include <sched.h>

#include <atomic>

namespace weft {

// Tells the CPU that this is a wait loop.
inline void cpu_relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

class Spinlock {
 public:
  void lock() noexcept {
    for (int round = 0; !try_lock(); ++round) {
      if (round < 64) {
        cpu_relax();
      } else {
        sched_yield();
      }
    }
  }
  bool try_lock() noexcept {
    return !held_.load(std::memory_order_relaxed) && !held_.exchange(true, std::memory_order_acquire);
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  std::atomic<bool> held_{false};
};

}  // namespace weft
