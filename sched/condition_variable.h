// sched/condition_variable.h - wait for a condition under a sched::Mutex. (Stand-in until the scheduler lands.)
#pragma once
#include <chrono>
#include <condition_variable>
#include <mutex>
#include "sched/mutex.h"
namespace weft::sched {
class ConditionVariable {
 public:
  void wait(std::unique_lock<Mutex>& lock) { cv_.wait(lock); }
  template <typename Predicate>
  void wait(std::unique_lock<Mutex>& lock, Predicate predicate) { cv_.wait(lock, std::move(predicate)); }
  template <typename Predicate>
  bool wait_for(std::unique_lock<Mutex>& lock, std::chrono::nanoseconds timeout, Predicate predicate) {
    return cv_.wait_for(lock, timeout, std::move(predicate));
  }
  void notify_one() { cv_.notify_one(); }
  void notify_all() { cv_.notify_all(); }
 private:
  std::condition_variable_any cv_;
};
}  // namespace weft::sched
