// sched/reactor.h - where a worker sleeps and its I/O completes: its io_uring, or epoll without one. Internal.
//
// Without io_uring (old kernel, a container that forbids it) it takes two requests: to poll a descriptor, and to cancel that.
// io.cc makes the system calls itself then, when they do not wait, and gives those on files to the offload threads.
//
// Its making blocks SIGPIPE on the worker's thread: a ring writes on behalf of all fibers, and one whose reader has gone must
// not end the process; it fails with EPIPE.
//
// Invariants   X1  a completion is delivered on the worker that owns the ring, whatever became of the fiber meanwhile
//              X2  an IoOp lives until delivered; the kernel may write its buffers until then
//              X3  a completion queue that is full loses nothing: the kernel keeps a backlog and flags it (Uring requires
//                  that of a kernel), and the next poll() fetches it
// Thread-safety: one owner thread, the one that called create(); wake() from any. wait() blocks the thread.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "kernel/uring.h"
#include "sched/epoll_set.h"

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
  // Whether there is a ring that may be asked for it.
  [[nodiscard]] bool takes(UringOp op) const noexcept;
  // Queues a request; it goes to the kernel at the next submit(), poll() or wait(). May complete it at once.
  void prepare(const UringRequest& request, IoOp* op) noexcept;
  [[nodiscard]] std::uint32_t unsubmitted() const noexcept { return ring_ ? ring_->unsubmitted() : 0; }
  void submit() noexcept;
  // Something to submit, fetch or deliver.
  [[nodiscard]] bool pending() const noexcept { return ring_ ? ring_->work_pending() : !epoll_->empty(); }
  // Submits, fetches and delivers what is there.
  void poll() noexcept;
  // The same after sleeping until something completes, wake(), or the timeout.
  void wait(std::optional<std::chrono::nanoseconds> timeout) noexcept;
  void wake() noexcept;
  // Of the requests, those a device answers (io.cc counts them): begun and ended so far.
  void device_requests_begin(std::size_t count) noexcept { device_begun_ += count; }
  void device_request_ends() noexcept { ++device_ended_; }
  [[nodiscard]] std::uint64_t in_flight() const noexcept { return device_begun_ - device_ended_; }
  [[nodiscard]] bool device_works() const noexcept { return in_flight() != 0; }
  [[nodiscard]] std::uint64_t device_ended() const noexcept { return device_ended_; }
  // From any thread.
  [[nodiscard]] std::uint64_t submitted() const noexcept { return submitted_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t completed() const noexcept { return completed_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t enters() const noexcept { return enters_.load(std::memory_order_relaxed); }

 private:
  Reactor() = default;
  void arm_wakeup() noexcept;
  void deliver() noexcept;
  void drain_wakeup() noexcept;

  std::optional<Uring> ring_;
  std::optional<EpollSet> epoll_;  // one of the two
  bool open_files_only_ = false;
  int wake_fd_ = -1;
  static void bump(std::atomic<std::uint64_t>& counter) noexcept {
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }
  std::atomic<std::uint64_t> submitted_{0};  // written by the owner
  std::atomic<std::uint64_t> completed_{0};
  std::atomic<std::uint64_t> enters_{0};
  std::uint64_t device_begun_ = 0;
  std::uint64_t device_ended_ = 0;
  std::uint64_t wake_count_ = 0;  // the kernel reads the eventfd into it
};

}  // namespace weft::sched
