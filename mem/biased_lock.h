// mem/biased_lock.h - a lock that costs its owner two stores and a load, and whoever else wants it a call of the kernel. Internal.
//
// A thread's heap is its own, and no slow path of it may cost an atomic instruction; but while the thread sleeps, the purge thread
// looks after the heap (purge_thread.h). The owner says what it is at and looks whether there is a visitor; the visitor says that it
// is there, has every thread of the process pass a memory barrier (membarrier(2)), and looks what the owner is at. So one of them at least
// sees the other: the visitor goes at once, the owner waits until it has gone.
// One visitor at a time. The owner may be another thread each time, if that is ordered otherwise.
// Tests: tests/mem/biased_lock_test.cc.
#pragma once

#include <atomic>
#include <cstdint>

namespace weft::mem {

class BiasedLock {
 public:
  // What the owner is at; the lock is taken by the last two.
  enum class Use : std::uint8_t {
    kNone,
    kWaits,   // for the visitor to go
    kBlocks,  // one slab's blocks, or those for others: whoever finds it torn (a fork) can live with that
    kSlabs,
  };

  // Of an owner who is not in.
  void enter(Use use) noexcept {
    say(use);
    if (visited_.load(std::memory_order_acquire)) [[unlikely]]
      wait_for_visitor(use);
  }
  void leave() noexcept { say(Use::kNone); }

  // Of one who may be in.
  class Guard {
   public:
    Guard(BiasedLock& lock, Use use) noexcept : lock_(lock), before_(lock.use_.load(std::memory_order_relaxed)) {
      before_ == Use::kNone ? lock_.enter(use) : lock_.say(use);
    }
    ~Guard() { lock_.say(before_); }
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    BiasedLock& lock_;
    const Use before_;
  };

  // False: the owner is in, or the kernel has no such barrier.
  bool try_visit() noexcept;
  void end_visit() noexcept { visited_.store(false, std::memory_order_release); }

  // In a child of fork(): whoever was in is not there.
  void forget() noexcept { use_.store(Use::kNone, std::memory_order_relaxed); }

  Use use() const noexcept { return use_.load(std::memory_order_acquire); }

 private:
  void say(Use use) noexcept {
    // Stores become visible in program order on what we run on, and what a load overtakes is the visitor's to mend; the compiler must
    // keep the order.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    use_.store(use, std::memory_order_release);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  void wait_for_visitor(Use use) noexcept;

  std::atomic<Use> use_{Use::kNone};
  std::atomic<bool> visited_{false};
};

}  // namespace weft::mem
