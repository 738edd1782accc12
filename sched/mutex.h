// sched/mutex.h - mutual exclusion for fibers and plain threads alike. (Stand-in on std types until the scheduler lands.)
#pragma once
#include <mutex>
#include <shared_mutex>
namespace weft::sched {
class Mutex {
 public:
  void lock() { m_.lock(); }
  bool try_lock() { return m_.try_lock(); }
  void unlock() { m_.unlock(); }
 private:
  std::mutex m_;
};
class SharedMutex {
 public:
  void lock() { m_.lock(); }
  bool try_lock() { return m_.try_lock(); }
  void unlock() { m_.unlock(); }
  void lock_shared() { m_.lock_shared(); }
  bool try_lock_shared() { return m_.try_lock_shared(); }
  void unlock_shared() { m_.unlock_shared(); }
 private:
  std::shared_mutex m_;
};
}  // namespace weft::sched
