// sched/reactor.h - where a worker sleeps and its I/O completes: its io_uring, or a bare eventfd without one. Internal.
//
// Without io_uring (old kernel, a container that forbids it) fibers work all the same; io.cc then sends I/O to the offload
// threads.
//
// Invariants   X1  a completion is delivered on the worker that owns the ring, whatever became of the fiber meanwhile
//              X2  an IoOp lives until delivered; the kernel may write its buffers until then
// Thread-safety: one owner thread, the one that called create(); wake() from any. wait() blocks the thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "kernel/uring.h"

namespace weft::sched {

// A request in flight: its completion is tagged with its address.
struct IoOp {
  // May resume a waiter, which may at once end the life of the op.
  void (*complete)(IoOp& op, std::int32_t result, std::uint32_t flags) noexcept = nullptr;
};

class Reactor {
 public:
  static Result<std::unique_ptr<Reactor>> create(bool want_ring, bool open_files_only);
  ~Reactor();
  Reactor(const Reactor&) = delete;
  Reactor& operator=(const Reactor&) = delete;

  [[nodiscard]] bool has_ring() const noexcept { return ring_.has_value(); }
  [[nodiscard]] Uring& ring() noexcept { return *ring_; }
  // Queues a request; it goes to the kernel at the next submit(), poll() or wait(). Only with a ring.
  void prepare(const UringRequest& request, IoOp* op) noexcept;
  [[nodiscard]] std::uint32_t unsubmitted() const noexcept { return ring_ ? ring_->unsubmitted() : 0; }
  void submit() noexcept;
  // Something to submit, fetch or deliver.
  [[nodiscard]] bool pending() const noexcept { return ring_ && ring_->work_pending(); }
  // Submits, fetches and delivers what is there.
  void poll() noexcept;
  // The same after sleeping until something completes, wake(), or the timeout.
  void wait(std::optional<std::chrono::nanoseconds> timeout) noexcept;
  void wake() noexcept;

 private:
  Reactor() = default;
  void arm_wakeup() noexcept;
  void deliver() noexcept;

  std::optional<Uring> ring_;
  int wake_fd_ = -1;
  std::uint64_t wake_count_ = 0;  // the kernel reads the eventfd into it
};

}  // namespace weft::sched
