// sched/group_state.h - what is kept of one scheduling group, and queues of ready fibers that some worker in particular may have to run. Internal.
//
// A group outlives its fibers and the runtimes they run in, so its numbers of one runtime start anew in the next: join().
//
// Invariants   G1  while it has members, all of them are of one runtime (`owner`)
//              G2  virtual_ns, active, ready are guarded by that runtime's Classes::lock_
// Locks        join_lock: a leaf
// Tests: tests/sched/classes_test.cc.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kernel/spinlock.h"

namespace weft::sched {

struct FiberState;

// First in, first out, over two lanes: of those that any worker may run, and of those that one must.
class LanedQueue {
 public:
  static constexpr int kAnyWorker = -1;

  void push(FiberState* fiber, int lane, std::uint64_t order);
  // The first that `worker` may run; null: none.
  FiberState* pop(unsigned worker) noexcept;
  [[nodiscard]] bool has_for(unsigned worker) const noexcept {
    return any_.head != nullptr || (worker < own_.size() && own_[worker].head != nullptr);
  }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] std::size_t size() const noexcept { return count_; }
  // When it was pushed; of none: the greatest number.
  [[nodiscard]] std::uint64_t first_order(unsigned worker) const noexcept;
  // Of those that any worker may run.
  [[nodiscard]] std::size_t any_size() const noexcept { return any_.count; }

 private:
  struct Lane {
    FiberState* head = nullptr;
    FiberState* tail = nullptr;
    std::size_t count = 0;
  };
  Lane any_;
  std::vector<Lane> own_;  // by worker; as long as was needed
  std::size_t count_ = 0;
};

struct GroupState {
  static constexpr unsigned kDefaultShares = 100, kMostShares = 10'000;

  GroupState(std::string_view group_name, unsigned group_shares) noexcept;
  void ref() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
  void unref() noexcept {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  // A fiber of the runtime with that number begins or ends.
  void join(std::uint64_t runtime) noexcept;
  void leave() noexcept;

  std::atomic<unsigned> shares;
  std::atomic<std::int64_t> cpu_ns{0};  // of all its fibers, whatever their class
  std::int64_t virtual_ns = 0;          // time had, over shares: who has the least is next
  std::int64_t step_ns = 0;             // the longest it went by at once, of late
  std::uint64_t active = 0;             // fibers of the normal class that are ready or run
  LanedQueue ready;

  Spinlock join_lock;
  std::uint64_t owner = 0;    // guarded by join_lock
  std::uint64_t members = 0;  // guarded by join_lock
  std::atomic<std::uint32_t> references{1};
  char name[32] = {};
};

}  // namespace weft::sched
