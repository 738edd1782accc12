// kernel/uring.h - one io_uring, and the one door to liburing; knows no fibers.
//
//   prepare() ... prepare()  ->  submit_and_wait()  ->  reap(): one call for each completion
//
// prepare() copies a request into the submission queue and never enters the kernel unless the queue is full. Completions
// come only from reap(). The owner's loop asks work_pending() (three loads) before it pays for a system call.
//
// Invariants   U1  nothing allocates after create()
//              U2  unsubmitted() requests are unknown to the kernel; submit*() hands over all of them
//              U3  with deferred task work (facts()) completions appear only inside submit_and_wait() and run_task_work()
//
// Thread-safety: one owner thread, the one that called create(), or enable() on a ring made with start_disabled. Only
// fd(), supports(), facts() and post() are for all threads. The owner destroys it, or any thread after the owner has ended.
// Nothing here parks a fiber; submit_and_wait() blocks the thread. Not for use in a child after fork().
// Tests: tests/kernel/uring_test.cc.
#pragma once

#include <sys/uio.h>

#include <atomic>
#include <bitset>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "kernel/result.h"
#include "kernel/uring_request.h"

namespace weft {

class Uring {
 public:
  struct Options {
    std::uint32_t entries = 256;  // of the submission queue; rounded up to a power of two
    std::uint32_t completion_entries =
        0;                           // 0: four times `entries`; more in flight is fine, the kernel then keeps a backlog
    bool deferred_task_work = true;  // SINGLE_ISSUER and DEFER_TASKRUN where the kernel has them
    bool wide_entries = false;       // 128-byte entries, for prepare_command()
    bool start_disabled = false;     // made by one thread for another, which calls enable() and so owns it
    // Takes nothing but reads, writes, flushes, fallocate and polls of descriptors that are open already, for good: what else is
    // prepared comes back with EACCES. A seccomp filter sees nothing of what a ring is asked to open or connect to.
    bool open_descriptors_only = false;
  };

  // What the kernel gave of what was asked for.
  struct Facts {
    std::uint32_t entries = 0;
    std::uint32_t completion_entries = 0;
    bool single_issuer = false;
    bool deferred_task_work = false;
    bool task_work_flagged = false;  // has_task_work() is told by the kernel
    bool wide_entries = false;
    bool registered_fd = false;
  };

  // Asks for the fastest ring and settles for less. Errors: kUnsupported (no io_uring, or switched off; the message says
  // what to do), kNoMemory, kIo.
  static Result<Uring> create(const Options& options);
  static Result<Uring> create() { return create(Options{}); }

  Uring(Uring&& other) noexcept;
  Uring& operator=(Uring&& other) noexcept;
  ~Uring();

  // Makes the calling thread the owner of a ring made with start_disabled.
  Status enable();

  [[nodiscard]] int fd() const noexcept;
  [[nodiscard]] const Facts& facts() const noexcept { return facts_; }
  // Whether the running kernel knows the operation.
  [[nodiscard]] bool supports(UringOp op) const noexcept { return opcodes_[static_cast<std::size_t>(op)]; }

  // Queues a request. When the queue is full it submits first; kAgain or kNoMemory if the kernel takes none of them just
  // then (reap and come again).
  Status prepare(const UringRequest& request) {
    if (sq_tail_ - load_acquire(sq_head_) == facts_.entries) [[unlikely]] {
      if (auto made_room = submit(); !made_room) return made_room;
      if (sq_tail_ - load_acquire(sq_head_) == facts_.entries) return fail(Errc::kAgain);
    }
    std::byte* slot = slots_ + (std::size_t{sq_tail_ & sq_mask_} << slot_shift_);
    __builtin_memcpy(slot, &request, sizeof request);
    ++sq_tail_;
    return {};
  }
  // A kUringCmd with its payload of up to 80 bytes (16 on a ring without wide_entries; kInvalid if longer).
  Status prepare_command(const UringRequest& request, std::span<const std::byte> payload);

  // Prepared and not yet given to the kernel.
  [[nodiscard]] std::uint32_t unsubmitted() const noexcept { return sq_tail_ - load_acquire(sq_head_); }
  // Completions that reap() would deliver.
  [[nodiscard]] std::uint32_t reapable() const noexcept { return load_acquire(cq_tail_) - *cq_head_; }
  // The kernel holds completions that only a call of run_task_work() or submit_and_wait() brings forth.
  [[nodiscard]] bool has_task_work() const noexcept {
    return (std::atomic_ref(*sq_flags_).load(std::memory_order_relaxed) & task_work_mask_) != 0;
  }
  // Something to submit, to reap, or to fetch: what a loop asks each time round.
  [[nodiscard]] bool work_pending() const noexcept { return unsubmitted() != 0 || reapable() != 0 || has_task_work(); }

  // Gives all prepared requests to the kernel; does not wait. kAgain, kNoMemory as prepare(). Free if nothing is prepared.
  Status submit();
  // submit(), and fetches what is finished without waiting for more. Free if there is neither.
  Status run_task_work();
  // submit(), then waits for `min_completions` reapable ones (counting those already there), at most `timeout`; none
  // waits for ever. Returning early is no error: at the timeout, at a signal, or with the kernel short of memory.
  Status submit_and_wait(std::uint32_t min_completions, std::optional<std::chrono::nanoseconds> timeout = std::nullopt);

  // Calls `deliver(UringCompletion)` for each completion there is, at most `limit`; how many there were. Never enters the
  // kernel. `deliver` may prepare() and even reap().
  template <typename Deliver>
  std::uint32_t reap(Deliver&& deliver, std::uint32_t limit = ~0U) {
    std::uint32_t count = 0;
    while (count < limit) {
      const std::uint32_t head = *cq_head_;
      if (head == load_acquire(cq_tail_)) break;
      UringCompletion completion;
      __builtin_memcpy(&completion, completions_ + std::size_t{head & cq_mask_} * sizeof completion, sizeof completion);
      std::atomic_ref(*cq_head_).store(head + 1, std::memory_order_release);
      ++count;
      deliver(completion);
    }
    return count;
  }

  // Wakes the ring behind `ring_fd` with a completion {tag, result >= 0}, from any thread, ring or none (Linux 6.13;
  // kUnsupported before: then let the ring poll an eventfd of yours). kAgain: its completion queue is full.
  static Status post(int ring_fd, std::uint64_t tag, std::uint32_t result);

  // Memory for read_fixed() and write_fixed(), by index. Fails with kNoMemory above RLIMIT_MEMLOCK on old kernels.
  Status register_buffers(std::span<const iovec> buffers);
  Status unregister_buffers();
  // A table of `count` empty places for descriptors used with UringRequest::kFixedFile; fd -1 empties a place.
  Status register_files(std::uint32_t count);
  Status update_file(std::uint32_t index, int fd);
  // Bounds the kernel's worker threads of this ring: for regular files and block devices, and for the rest. 0 leaves as is.
  Status limit_kernel_workers(std::uint32_t bounded, std::uint32_t unbounded);
  // Cancels whatever is in flight and waits for it, at most `timeout`; completions are then there to reap. kUnsupported
  // before Linux 6.0, kTimedOut.
  Status cancel_all(std::chrono::nanoseconds timeout);

 private:
  struct Impl;
  explicit Uring(std::unique_ptr<Impl> impl);

  static std::uint32_t load_acquire(const std::uint32_t* word) noexcept {
    return std::atomic_ref(*const_cast<std::uint32_t*>(word)).load(std::memory_order_acquire);
  }
  Status adopt();
  Status enter(std::uint32_t min_completions, bool fetch, std::optional<std::chrono::nanoseconds> timeout);

  // Views into the memory shared with the kernel, so that the hot calls need not look through impl_.
  std::byte* slots_ = nullptr;
  const std::uint32_t* sq_head_ = nullptr;
  std::uint32_t* sq_flags_ = nullptr;
  std::uint32_t sq_tail_ = 0;  // ours; published by enter()
  std::uint32_t sq_mask_ = 0;
  std::uint32_t slot_shift_ = 6;
  std::uint32_t task_work_mask_ = 0;
  std::byte* completions_ = nullptr;
  std::uint32_t* cq_head_ = nullptr;
  const std::uint32_t* cq_tail_ = nullptr;
  std::uint32_t cq_mask_ = 0;
  Facts facts_;
  std::bitset<256> opcodes_;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft
