// sched/mutex.h - mutual exclusion for fibers and plain threads alike.
//
// Named as std::timed_mutex and std::shared_timed_mutex, so lockable by std::lock_guard, std::unique_lock, std::scoped_lock and
// std::shared_lock. lock() parks a fiber and blocks a thread. Owned by the fiber, not its thread: it may be unlocked on another
// worker. Not recursive.
//
// Mutex: a newcomer may overtake those who wait, but one that has been overtaken once is handed the lock. One atomic when free.
// SharedMutex: first come, first served, so neither readers nor writers starve; therefore a fiber that holds it shared must not
// ask for it again: a writer between the two would stop both.
//
// One with a rank is checked against the order of locks in sanitizer builds: see sched/lock_place.h.
// Tests: tests/sched/mutex_test.cc; in every interleaving: mutex_model_test.cc.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "kernel/spinlock.h"
#include "sched/current.h"
#include "sched/deadline.h"
#include "sched/lock_place.h"
#include "sched/steady_clock.h"
#include "sched/waiter.h"

namespace weft::sched {

// What the two have in common: one owner at a time, under the names of std::timed_mutex. `Self` has lock_slow(), which waits, and
// unlock_slow(), which lets in whoever waits.
template <typename Self>
class ExclusiveLock {
 public:
  void lock() {
    simulation_point();
    place_.may_wait();
    if (!take_free()) self().lock_slow(Deadline::never());
    place_.took();
  }
  bool try_lock() noexcept {
    if (!take_free()) return false;
    place_.took();
    return true;
  }
  // False: the deadline passed first.
  bool try_lock_until(Deadline deadline) {
    if (!take_free() && !self().lock_slow(deadline)) return false;
    place_.took();
    return true;
  }
  template <typename Clock, typename Duration>
  bool try_lock_until(const std::chrono::time_point<Clock, Duration>& at) {
    return try_lock_until(deadline_at(at));
  }
  template <typename Rep, typename Period>
  bool try_lock_for(const std::chrono::duration<Rep, Period>& timeout) {
    return try_lock_until(deadline_after(timeout));
  }
  void unlock() {
    place_.let_go();
    std::uint32_t mine = kLocked;
    if (!word_.compare_exchange_strong(mine, 0, std::memory_order_release, std::memory_order_relaxed))
      self().unlock_slow();
  }

 protected:
  static constexpr std::uint32_t kLocked = 1, kWaiters = 2;

  // Waits for an unlock() that has let the destroyer in and is about to return.
  ~ExclusiveLock() {
    queue_lock_.lock();
    queue_lock_.unlock();
  }
  bool take_free() noexcept {
    std::uint32_t free = 0;
    return word_.compare_exchange_strong(free, kLocked, std::memory_order_acquire, std::memory_order_relaxed);
  }

  std::atomic<std::uint32_t> word_{0};
  Spinlock queue_lock_;
  WaitQueue queue_;  // guarded by queue_lock_
  [[no_unique_address]] LockPlace place_;

 private:
  friend Self;
  ExclusiveLock() noexcept = default;
  ExclusiveLock(LockRank rank, std::uint64_t order) noexcept : place_(rank, order) {}
  Self& self() noexcept { return static_cast<Self&>(*this); }
};

// kWaiters of its word changes under queue_lock_ only.
class Mutex : public ExclusiveLock<Mutex> {
 public:
  Mutex() noexcept = default;
  // `order`: among those of the same rank; 0: none.
  explicit Mutex(LockRank rank, std::uint64_t order = 0) noexcept : ExclusiveLock(rank, order) {}

 private:
  friend class ExclusiveLock<Mutex>;
  bool lock_slow(Deadline deadline);
  void unlock_slow();
};

// While kWaiters is set, all of its word changes under queue_lock_ only.
class SharedMutex : public ExclusiveLock<SharedMutex> {
 public:
  SharedMutex() noexcept = default;
  // As Mutex().
  explicit SharedMutex(LockRank rank, std::uint64_t order = 0) noexcept : ExclusiveLock(rank, order) {}

  void lock_shared() {
    simulation_point();
    place_.may_wait();
    if (!share_free()) wait(false, Deadline::never());
    place_.took();
  }
  bool try_lock_shared() noexcept {
    if (!share_free()) return false;
    place_.took();
    return true;
  }
  bool try_lock_shared_until(Deadline deadline) {
    if (!share_free() && !wait(false, deadline)) return false;
    place_.took();
    return true;
  }
  template <typename Clock, typename Duration>
  bool try_lock_shared_until(const std::chrono::time_point<Clock, Duration>& at) {
    return try_lock_shared_until(deadline_at(at));
  }
  template <typename Rep, typename Period>
  bool try_lock_shared_for(const std::chrono::duration<Rep, Period>& timeout) {
    return try_lock_shared_until(deadline_after(timeout));
  }
  void unlock_shared() {
    place_.let_go();
    // With waiters the count changes under the queue's lock, so that the last reader out is told from the first one in.
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    while ((word & kWaiters) == 0)
      if (word_.compare_exchange_weak(word, word - kReader, std::memory_order_release, std::memory_order_relaxed))
        return;
    release(kReader);
  }

 private:
  friend class ExclusiveLock<SharedMutex>;
  static constexpr std::uint32_t kReader = 4;
  bool share_free() noexcept {
    std::uint32_t word = word_.load(std::memory_order_relaxed);
    while ((word & (kLocked | kWaiters)) == 0)
      if (word_.compare_exchange_weak(word, word + kReader, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    return false;
  }
  bool lock_slow(Deadline deadline) { return wait(true, deadline); }
  void unlock_slow() { release(kLocked); }
  bool wait(bool exclusive, Deadline deadline);
  void release(std::uint32_t held);
  void grant();
};

}  // namespace weft::sched
