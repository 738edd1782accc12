// sched/io_blocking.cc - the requests of io.h as plain system calls, for threads and for workers without io_uring.
#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "sched/io.h"

namespace weft::sched::io {
namespace {

std::int32_t result_of(ssize_t returned) noexcept {
  return static_cast<std::int32_t>(returned >= 0 ? returned : -errno);
}

std::int32_t poll_once(int fd, std::uint32_t events, Deadline deadline) noexcept {
  pollfd waiting{fd, static_cast<short>(events), 0};
  timespec limit{};
  if (!deadline.is_never()) {
    const std::int64_t left = deadline.at().count() - now().count();
    limit.tv_sec = left > 0 ? left / 1'000'000'000 : 0;
    limit.tv_nsec = left > 0 ? left % 1'000'000'000 : 0;
  }
  const int ready = ppoll(&waiting, 1, deadline.is_never() ? nullptr : &limit, nullptr);
  if (ready < 0) return -errno;
  return ready == 0 ? -ETIME : waiting.revents;
}

std::int32_t transfer(const UringRequest& request) noexcept {
  const auto at = static_cast<off_t>(request.offset);
  const bool stream = request.offset == uring::kCurrentPosition;
  void* memory = reinterpret_cast<void*>(request.address);
  const auto* vectors = static_cast<const iovec*>(memory);
  const auto count = static_cast<int>(request.length);
  switch (request.opcode) {
    case UringOp::kRead:
      return result_of(stream ? ::read(request.fd, memory, request.length)
                              : pread(request.fd, memory, request.length, at));
    case UringOp::kWrite:
      return result_of(stream ? ::write(request.fd, memory, request.length)
                              : pwrite(request.fd, memory, request.length, at));
    case UringOp::kReadv:
      return result_of(stream ? ::readv(request.fd, vectors, count) : preadv(request.fd, vectors, count, at));
    default: return result_of(stream ? ::writev(request.fd, vectors, count) : pwritev(request.fd, vectors, count, at));
  }
}

}  // namespace

std::int32_t perform_blocking(const UringRequest& request, Deadline deadline) noexcept {
  switch (request.opcode) {
    case UringOp::kRead:
    case UringOp::kReadv:
    case UringOp::kWrite:
    case UringOp::kWritev: {
      const bool write = request.opcode == UringOp::kWrite || request.opcode == UringOp::kWritev;
      if (!deadline.is_never()) {
        const std::int32_t ready = poll_once(request.fd, write ? POLLOUT : POLLIN, deadline);
        if (ready < 0) return ready;
      }
      return transfer(request);
    }
    case UringOp::kFsync: return result_of(request.op_flags != 0 ? ::fdatasync(request.fd) : ::fsync(request.fd));
    case UringOp::kFallocate:
      return result_of(::fallocate(request.fd, static_cast<int>(request.length), static_cast<off_t>(request.offset),
                                   static_cast<off_t>(request.address)));
    case UringOp::kPollAdd: return poll_once(request.fd, request.op_flags, deadline);
    default: return -EOPNOTSUPP;
  }
}

}  // namespace weft::sched::io
