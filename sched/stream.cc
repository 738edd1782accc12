#include "sched/stream.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "sched/io.h"
#include "sched/spawn.h"

namespace weft::sched::io {
namespace {

std::uint32_t clamp_length(std::size_t length) noexcept {
  return static_cast<std::uint32_t>(std::min<std::size_t>(length, 0x7FFFF000));
}

msghdr message_of(std::span<const iovec> vectors) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(vectors.data());
  message.msg_iovlen = std::min<std::size_t>(vectors.size(), IOV_MAX);
  return message;
}

// errno, or 0. noinline, as both: the address of errno must not be kept by a caller that parks.
[[gnu::noinline]] int connect_once(int fd, const Address& to) noexcept {
  return ::connect(fd, to.raw(), to.raw_length()) == 0 ? 0 : errno;
}

[[gnu::noinline]] int pending_error(int fd) noexcept {
  int error = 0;
  socklen_t size = sizeof error;
  return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
}

// The socket waits for nothing within the call, so that the wait can be given up.
Status connect_by_readiness(int fd, const Address& to, Deadline deadline) {
  const int flags = fcntl(fd, F_GETFL);
  fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  for (;;) {
    int error = connect_once(fd, to);
    if (error == EINPROGRESS || error == EINTR) {
      TRY(poll(fd, POLLOUT, deadline));
      error = pending_error(fd);
    }
    if (error == 0) break;
    // The queue of a Unix listener is full, and nothing tells when it is not.
    if (error != EAGAIN) return fail(Error::from_errno(error, "connect to " + to.to_text()));
    if (deadline.passed()) return fail(Errc::kTimedOut);
    TRY(sleep_until(std::min(deadline, Deadline::after(std::chrono::milliseconds(1)))));
  }
  fcntl(fd, F_SETFL, flags);
  return {};
}

}  // namespace

Result<Stream> Stream::connect(const Address& to, const SocketOptions& options, Deadline deadline) {
  if (Network* network = TRY(current_network())) return Stream(TRY(network->connect(to, options, deadline)));
  Descriptor made = options.from ? TRY(open_bound(*options.from, SOCK_STREAM, options))
                                 : TRY(open(to, SOCK_STREAM, options));
                                 if (ring_takes(UringOp::kConnect)) {
                                   const std::int32_t result = TRY(
                                       perform_until(uring::connect(made.get(), to.raw(), to.raw_length()), deadline));
                                   if (result < 0)
                                     return fail(Error::from_errno(-result, "connect to " + to.to_text()));
                                 } else {
                                   TRY(connect_by_readiness(made.get(), to, deadline));
                                 }
                                 return Stream(std::move(made));
}

Result<std::pair<Stream, Stream>> Stream::pair(SocketKind kind) {
  TRY(current_network());
  int ends[2];
  const int type = kind == SocketKind::kStream ? SOCK_STREAM : SOCK_SEQPACKET;
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) return fail(Error::from_errno(errno, "socketpair"));
  return std::pair(Stream(Descriptor(ends[0])), Stream(Descriptor(ends[1])));
}

Result<std::size_t> Stream::read_some(std::span<std::byte> into, Deadline deadline) {
  if (end_ != nullptr) [[unlikely]] {
    const iovec one{into.data(), into.size()};
    return end_->read_some({&one, 1}, deadline);
  }
  return static_cast<std::size_t>(
      TRY(call_until(uring::recv(fd(), into.data(), clamp_length(into.size()), 0), deadline, "recv")));
}

Result<std::size_t> Stream::read_some(std::span<const iovec> into, Deadline deadline) {
  if (end_ != nullptr) [[unlikely]]
    return end_->read_some(into, deadline);
  msghdr message = message_of(into);
  return static_cast<std::size_t>(TRY(call_until(uring::recvmsg(fd(), &message, 0), deadline, "recvmsg")));
}

Result<std::size_t> Stream::read_all(std::span<std::byte> into, Deadline deadline) {
  std::size_t done = 0;
  while (done < into.size()) {
    const std::size_t size = TRY(read_some(into.subspan(done), deadline));
    if (size == 0) break;
    done += size;
  }
  return done;
}

Result<std::size_t> Stream::write_some(std::span<const std::byte> from, Deadline deadline) {
  if (end_ != nullptr) [[unlikely]] {
    const iovec one{const_cast<std::byte*>(from.data()), from.size()};
    return end_->write_some({&one, 1}, deadline);
  }
  return static_cast<std::size_t>(TRY(call_until(
      uring::send(fd(), from.data(), clamp_length(from.size()), MSG_NOSIGNAL), deadline, "send", First::kSystemCall)));
}

Result<std::size_t> Stream::write_some(std::span<const iovec> from, Deadline deadline) {
  if (end_ != nullptr) [[unlikely]]
    return end_->write_some(from, deadline);
  const msghdr message = message_of(from);
  return static_cast<std::size_t>(
      TRY(call_until(uring::sendmsg(fd(), &message, MSG_NOSIGNAL), deadline, "sendmsg", First::kSystemCall)));
}

Status Stream::write_all(std::span<const std::byte> from, Deadline deadline) {
  while (!from.empty()) from = from.subspan(TRY(write_some(from, deadline)));
  return {};
}

Status Stream::write_all(std::span<const iovec> from, Deadline deadline) {
  std::vector<iovec> rest;  // only once a write was partial
  while (!from.empty()) {
    std::size_t sent = TRY(write_some(from, deadline));
    std::size_t whole = 0;
    while (whole < from.size() && from[whole].iov_len <= sent) sent -= from[whole++].iov_len;
    from = from.subspan(whole);
    if (sent == 0) continue;
    if (rest.empty()) {
      rest.assign(from.begin(), from.end());
      from = rest;
    }
    iovec& first = rest[static_cast<std::size_t>(from.data() - rest.data())];
    first = {static_cast<std::byte*>(first.iov_base) + sent, first.iov_len - sent};
  }
  return {};
}

Status Stream::shutdown(Shutdown which) {
  if (end_ != nullptr) return end_->shutdown(which);
  static constexpr int kHow[] = {SHUT_RD, SHUT_WR, SHUT_RDWR};
  if (::shutdown(fd(), kHow[static_cast<std::size_t>(which)]) != 0)
    return fail(Error::from_errno(errno, "shutdown of a connection"));
  return {};
}

Result<Address> Stream::local_address() const {
  if (end_ != nullptr) return end_->local_address();
  return own_address();
}

Result<Address> Stream::peer_address() const {
  if (end_ != nullptr) return end_->peer_address();
  return others_address();
}

}  // namespace weft::sched::io
