// fs/data_in_flight.h - data of files that is mapped already and still on its way to the device.
//
//   file_write -> Write ; Journal, read_blocks() -> wait_for()
//
// Who writes back pages commits first and then writes the data, so that nobody has to wait for the device in between. What makes a
// transaction durable, or reads what it mapped, waits for the writes begun by then, and only for those.
//
// The caller of such a write is answered and sends the next, so nothing else bounds how many there are: who finds them crowded writes its
// data first.
//
// Invariants  W1  a Write begins before its transaction commits, and ends when its data is on the device or the volume has failed
// Locks       lock_ is a leaf. Nothing that a Write needs in order to end may be held by who waits.
// Parks       wait_for(). Thread- and fiber-safe. Tests: tests/fs/write_behind_test.cc
#pragma once

#include <atomic>
#include <cstdint>
#include <list>

#include "sched/condition_variable.h"
#include "sched/mutex.h"

namespace weft::fs {

class DataInFlight {
 public:
  // A moment is told by how many writes had begun.
  using Moment = std::uint64_t;

  class Write {
   public:
    explicit Write(DataInFlight& all);
    ~Write();
    Write(const Write&) = delete;
    Write& operator=(const Write&) = delete;

   private:
    DataInFlight& all_;
    std::list<Moment>::iterator at_;
  };

  [[nodiscard]] Moment now();
  // So many are under way that no more should begin. Does not park.
  static constexpr std::uint32_t kMost = 256;
  [[nodiscard]] bool crowded() const noexcept { return count_.load(std::memory_order_relaxed) >= kMost; }
  // Until every Write that had begun by then has ended.
  void wait_for(Moment moment);
  void wait_for_begun() { wait_for(now()); }

 private:
  sched::Mutex lock_;
  sched::ConditionVariable ended_;
  Moment next_ = 0;
  std::uint32_t waiting_ = 0;
  std::atomic<std::uint32_t> count_{0};  // of under_way_
  std::list<Moment> under_way_;          // numbers in the order of beginning
};

}  // namespace weft::fs
