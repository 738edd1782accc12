// sched/io.h - system calls on files and descriptors that park the fiber instead of blocking its thread.
//
//   fs, fuse  ->  [io]  ->  the worker's io_uring  ->  kernel
//
// The request goes to the ring of the worker the fiber is on and completes there, wherever the fiber runs by then. On a worker
// without io_uring files are read and written by an offload thread; pipes, sockets and the like are waited for by the worker's
// epoll. On a plain thread the system call is made where it stands; in a Simulation too, and what would have to wait for the
// world outside fails there with kUnsupported.
//
// Errors: Error::from_errno with the call's name. Interrupted calls are repeated. Reads and writes of files may be short, as
// their system calls'. The calls with a deadline are cancellation points: kTimedOut, kCancelled; the kernel has then let go
// of the buffer. All from any fiber or thread at once. Tests: tests/sched/io_test.cc.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel/result.h"
#include "kernel/uring_request.h"
#include "sched/deadline.h"

namespace weft::sched::io {

// Files, at an offset.
Result<std::size_t> read(int fd, std::span<std::byte> into, std::uint64_t offset_bytes);
Result<std::size_t> write(int fd, std::span<const std::byte> from, std::uint64_t offset_bytes);
Result<std::size_t> readv(int fd, std::span<const iovec> into, std::uint64_t offset_bytes);
Result<std::size_t> writev(int fd, std::span<const iovec> from, std::uint64_t offset_bytes);
Status fsync(int fd);
Status fdatasync(int fd);
// `mode` of FALLOC_FL_*.
Status fallocate(int fd, int mode, std::uint64_t offset_bytes, std::uint64_t length_bytes);

// Pipes, sockets and devices that make one wait, O_NONBLOCK or not. 0 bytes read: the end. A write to a pipe or socket that
// nobody reads fails with kClosed (EPIPE); off a worker it also raises SIGPIPE, as write(2) does.
Result<std::size_t> read_some(int fd, std::span<std::byte> into, Deadline deadline = Deadline::never());
Result<std::size_t> write_some(int fd, std::span<const std::byte> from, Deadline deadline = Deadline::never());

// Waits until one of `events` (POLLIN, POLLOUT ...) or an error condition; which.
Result<std::uint32_t> poll(int fd, std::uint32_t events, Deadline deadline = Deadline::never());
// Returns when a read would not wait, be it for data, the end or an error.
Status wait_readable(int fd, Deadline deadline = Deadline::never());

// --- For those who make requests of their own ---

// Results as system calls give them, or -errno.
std::int32_t perform(const UringRequest& request) noexcept;
Result<std::int32_t> perform_until(const UringRequest& request, Deadline deadline);

struct Call {
  UringRequest request;
  std::int32_t result = 0;
};
// Submits all together and parks once, until the last has ended.
void perform_all(std::span<Call> calls) noexcept;

// perform_until(), first tried as a system call that does not wait: quicker where it mostly succeeds.
Result<std::int32_t> perform_now_or_until(const UringRequest& request, Deadline deadline);

// Either of them, repeated when interrupted; a failure is an Error that names the call.
enum class First : std::uint8_t { kRing, kSystemCall };
Result<std::int32_t> call_until(const UringRequest& request, Deadline deadline, const char* what,
                                First first = First::kRing);
// kCancelled if the calling fiber has been asked to stop. For a loop of calls of its own, it lets others run now and then.
Status cancellation_point();
// Whether the calling fiber's ring may be asked for it: if not, perform_until() makes system calls and waits in between.
bool ring_takes(UringOp op) noexcept;

// The same system call by the calling thread; -EOPNOTSUPP for those that it does not know (connect, splice ...).
std::int32_t perform_blocking(const UringRequest& request, Deadline deadline = Deadline::never()) noexcept;
// The same if it does not wait, else -EAGAIN. Transfers, accept and poll; -EOPNOTSUPP where the descriptor cannot tell.
std::int32_t perform_now(const UringRequest& request) noexcept;
// What to wait for before a transfer: POLLIN or POLLOUT.
std::uint32_t events_of(const UringRequest& request) noexcept;

}  // namespace weft::sched::io
