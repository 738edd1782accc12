// sched/io_blocking.cc - the requests of io.h as plain system calls: for threads, for workers without io_uring, and where a
// call that does not wait is quicker than a request.
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>

#include "sched/io.h"

namespace weft::sched::io {
namespace {

std::int32_t result_of(ssize_t returned) noexcept {
  return static_cast<std::int32_t>(returned >= 0 ? returned : -errno);
}

bool writes(UringOp op) noexcept {
  return op == UringOp::kWrite || op == UringOp::kWritev || op == UringOp::kSend || op == UringOp::kSendmsg;
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

std::int32_t socket_call(const UringRequest& request, int more_flags) noexcept {
  void* memory = reinterpret_cast<void*>(request.address);
  const int flags = static_cast<int>(request.op_flags) | more_flags;
  switch (request.opcode) {
    case UringOp::kSend: return result_of(::send(request.fd, memory, request.length, flags));
    case UringOp::kRecv: return result_of(::recv(request.fd, memory, request.length, flags));
    case UringOp::kSendmsg: return result_of(::sendmsg(request.fd, static_cast<const msghdr*>(memory), flags));
    default: return result_of(::recvmsg(request.fd, static_cast<msghdr*>(memory), flags));
  }
}

std::int32_t accept_call(const UringRequest& request) noexcept {
  return result_of(::accept4(request.fd, reinterpret_cast<sockaddr*>(request.address),
                             reinterpret_cast<socklen_t*>(request.offset), static_cast<int>(request.op_flags)));
}

// -EOPNOTSUPP: only waiting for readiness can tell.
std::int32_t transfer_now(const UringRequest& request) noexcept {
  void* memory = reinterpret_cast<void*>(request.address);
  const iovec one{memory, request.length};
  const bool vectored = request.opcode == UringOp::kReadv || request.opcode == UringOp::kWritev;
  const iovec* vectors = vectored ? static_cast<const iovec*>(memory) : &one;
  const int count = vectored ? static_cast<int>(request.length) : 1;
  const auto at = static_cast<off_t>(request.offset);  // kCurrentPosition is the -1 of these calls
  return result_of(writes(request.opcode) ? pwritev2(request.fd, vectors, count, at, RWF_NOWAIT)
                                          : preadv2(request.fd, vectors, count, at, RWF_NOWAIT));
}

}  // namespace

std::uint32_t events_of(const UringRequest& request) noexcept { return writes(request.opcode) ? POLLOUT : POLLIN; }

// noinline, both: the address of errno must not be kept by a caller that parks.
[[gnu::noinline]] std::int32_t perform_now(const UringRequest& request) noexcept {
  switch (request.opcode) {
    case UringOp::kSend:
    case UringOp::kRecv:
    case UringOp::kSendmsg:
    case UringOp::kRecvmsg: return socket_call(request, MSG_DONTWAIT);
    case UringOp::kAccept: {
      // The flag is the listener's own, so without it somebody quicker would make us wait.
      const std::int32_t ready = poll_once(request.fd, POLLIN, Deadline(std::chrono::nanoseconds(0)));
      return ready == -ETIME ? -EAGAIN : accept_call(request);
    }
    case UringOp::kRead:
    case UringOp::kWrite:
    case UringOp::kReadv:
    case UringOp::kWritev: return transfer_now(request);
    case UringOp::kPollAdd: {
      const std::int32_t ready = poll_once(request.fd, request.op_flags, Deadline(std::chrono::nanoseconds(0)));
      return ready == -ETIME ? -EAGAIN : ready;
    }
    default: return -EOPNOTSUPP;
  }
}

[[gnu::noinline]] std::int32_t perform_blocking(const UringRequest& request, Deadline deadline) noexcept {
  switch (request.opcode) {
    case UringOp::kRead:
    case UringOp::kReadv:
    case UringOp::kWrite:
    case UringOp::kWritev:
    case UringOp::kSend:
    case UringOp::kRecv:
    case UringOp::kSendmsg:
    case UringOp::kRecvmsg:
    case UringOp::kAccept: {
      if (!deadline.is_never()) {
        const std::int32_t ready = poll_once(request.fd, events_of(request), deadline);
        if (ready < 0) return ready;
      }
      switch (request.opcode) {
        case UringOp::kRead:
        case UringOp::kReadv:
        case UringOp::kWrite:
        case UringOp::kWritev: return transfer(request);
        case UringOp::kAccept: return accept_call(request);
        default: return socket_call(request, 0);
      }
    }
    case UringOp::kFsync: return result_of(request.op_flags != 0 ? ::fdatasync(request.fd) : ::fsync(request.fd));
    case UringOp::kFallocate:
      return result_of(::fallocate(request.fd, static_cast<int>(request.length), static_cast<off_t>(request.offset),
                                   static_cast<off_t>(request.address)));
    case UringOp::kPollAdd: return poll_once(request.fd, request.op_flags, deadline);
    case UringOp::kOpenat:
      return result_of(::openat(request.fd, reinterpret_cast<const char*>(request.address),
                                static_cast<int>(request.op_flags), static_cast<mode_t>(request.length)));
    case UringOp::kStatx:
      return result_of(::statx(request.fd, reinterpret_cast<const char*>(request.address),
                               static_cast<int>(request.op_flags), request.length,
                               reinterpret_cast<struct ::statx*>(request.offset)));
    case UringOp::kRenameat:
      return result_of(::renameat2(request.fd, reinterpret_cast<const char*>(request.address),
                                   static_cast<int>(request.length), reinterpret_cast<const char*>(request.offset),
                                   request.op_flags));
    case UringOp::kUnlinkat:
      return result_of(
          ::unlinkat(request.fd, reinterpret_cast<const char*>(request.address), static_cast<int>(request.op_flags)));
    case UringOp::kClose: return result_of(::close(request.fd));
    default: return -EOPNOTSUPP;
  }
}

}  // namespace weft::sched::io
