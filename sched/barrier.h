// sched/barrier.h - several meet again and again, and go on together; as std::barrier, for fibers and plain threads.
//
//   sched::Barrier meet(3, [&] { swap(now, next); });     // the function runs once in each phase, by the last to arrive,
//   ... meet.arrive_and_wait();                           // before anybody goes on; it may park
//
// A phase ends when as many have arrived as are expected. The waits park; those with a deadline are cancellation points, and
// one that ends with kTimedOut or kCancelled has arrived even so: it may wait again with the same token. An exception from the completion function
// ends the process. The barrier may be destroyed when everybody's wait has returned. Tests: tests/sched/latch_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernel/result.h"
#include "kernel/spinlock.h"
#include "sched/deadline.h"
#include "sched/waiter.h"

namespace weft::sched {

// All of it but the completion function. Internal.
class BarrierCore {
 public:
  // The phase somebody has arrived in.
  class ArrivalToken {
   private:
    friend class BarrierCore;
    explicit ArrivalToken(std::uint64_t phase) noexcept : phase_(phase) {}
    std::uint64_t phase_;
  };

  explicit BarrierCore(std::ptrdiff_t expected) noexcept : expected_(expected), missing_(expected) {}
  ~BarrierCore() {  // as ~Mutex()
    lock_.lock();
    lock_.unlock();
  }
  BarrierCore(const BarrierCore&) = delete;
  BarrierCore& operator=(const BarrierCore&) = delete;

  void wait(const ArrivalToken& token) noexcept { (void)wait_phase(token.phase_, Deadline::never(), false); }
  Status wait_until(const ArrivalToken& token, Deadline deadline) {
    return status_of(wait_phase(token.phase_, deadline, true));
  }

 protected:
  struct Arrival {
    ArrivalToken token;
    bool last;  // the caller is to complete the phase and then to call next_phase()
  };
  Arrival arrive_core(std::ptrdiff_t count, bool drop) noexcept;
  void next_phase() noexcept;

 private:
  Outcome wait_phase(std::uint64_t phase, Deadline deadline, bool cancellable) noexcept;

  Spinlock lock_;  // guards all below
  std::ptrdiff_t expected_;
  std::ptrdiff_t missing_;  // in this phase
  std::uint64_t phase_ = 0;
  WaitQueue queue_;  // all of this phase
};

struct NoCompletion {
  void operator()() const noexcept {}
};

template <typename Completion = NoCompletion>
class Barrier : public BarrierCore {
 public:
  explicit Barrier(std::ptrdiff_t expected, Completion completion = Completion())
      : BarrierCore(expected), completion_(std::move(completion)) {}

  [[nodiscard]] ArrivalToken arrive(std::ptrdiff_t count = 1) noexcept {
    const Arrival arrival = arrive_core(count, false);
    if (arrival.last) complete();
    return arrival.token;
  }
  void arrive_and_wait() noexcept { wait(arrive()); }
  // Arrives, and is not expected in later phases.
  void arrive_and_drop() noexcept {
    if (arrive_core(1, true).last) complete();
  }

 private:
  void complete() noexcept {
    completion_();
    next_phase();
  }
  [[no_unique_address]] Completion completion_;
};

}  // namespace weft::sched
