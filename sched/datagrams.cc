#include "sched/datagrams.h"

#include <sys/socket.h>

#include <cerrno>

#include "sched/io.h"

namespace weft::sched::io {
namespace {

Status send_message(int fd, std::span<const std::byte> message, const Address* to, Deadline deadline) {
  iovec vector{const_cast<std::byte*>(message.data()), message.size()};
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  if (to != nullptr) {
    header.msg_name = const_cast<sockaddr*>(to->raw());
    header.msg_namelen = to->raw_length();
  }
  TRY(call_until(uring::sendmsg(fd, &header, MSG_NOSIGNAL), deadline, "sendmsg", First::kSystemCall));
  return {};
}

}  // namespace

Result<Datagrams> Datagrams::bind(const Address& at, const SocketOptions& options) {
  Datagrams made;
  if (Network* network = TRY(current_network())) {
    made.end_ = TRY(network->bind(at, options));
  } else {
    made.descriptor_ = TRY(open_bound(at, SOCK_DGRAM, options));
  }
  return made;
}

Result<std::pair<Datagrams, Datagrams>> Datagrams::pair() {
  TRY(current_network());
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) != 0) return fail(Error::from_errno(errno, "socketpair"));
  return std::pair(Datagrams(Descriptor(ends[0])), Datagrams(Descriptor(ends[1])));
}

Status Datagrams::connect(const Address& to) {
  if (end_ != nullptr) return fail(Errc::kUnsupported, "a simulated datagram socket has no single peer");
  // Sends nothing and waits for nothing: it only notes the address.
  if (::connect(fd(), to.raw(), to.raw_length()) != 0)
    return fail(Error::from_errno(errno, "connect to " + to.to_text()));
  return {};
}

Status Datagrams::send(std::span<const std::byte> message, Deadline deadline) {
  if (end_ != nullptr) return fail(Errc::kUnsupported, "a simulated datagram socket has no single peer");
  return send_message(fd(), message, nullptr, deadline);
}

Status Datagrams::send_to(std::span<const std::byte> message, const Address& to, Deadline deadline) {
  if (end_ != nullptr) return end_->send_to(message, to, deadline);
  return send_message(fd(), message, &to, deadline);
}

Result<Datagrams::Received> Datagrams::receive_from(std::span<std::byte> into, Deadline deadline) {
  if (end_ != nullptr) return end_->receive_from(into, deadline);
  iovec vector{into.data(), into.size()};
  Received received;
  msghdr header{};
  header.msg_iov = &vector;
  header.msg_iovlen = 1;
  header.msg_name = received.from.raw_room();
  header.msg_namelen = Address::kCapacity;
  received.size_bytes =
      static_cast<std::size_t>(TRY(call_until(uring::recvmsg(fd(), &header, 0), deadline, "recvmsg")));
  received.cut = (header.msg_flags & MSG_TRUNC) != 0;
  received.from.set_raw_length(header.msg_namelen);
  return received;
}

Result<Address> Datagrams::local_address() const {
  if (end_ != nullptr) return end_->local_address();
  return own_address();
}

}  // namespace weft::sched::io
