#include "sched/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "sched/current.h"
#include "sched/network.h"
#include "sched/scheduler.h"

namespace weft::sched::io {
namespace {

Status set(int fd, int level, int name, int value, const char* what) {
  if (setsockopt(fd, level, name, &value, sizeof value) != 0) return fail(Error::from_errno(errno, what));
  return {};
}

int domain_of(const Address& address) noexcept {
  switch (address.family()) {
    case AddressFamily::kIpv4: return AF_INET;
    case AddressFamily::kIpv6: return AF_INET6;
    case AddressFamily::kUnix: return AF_UNIX;
    case AddressFamily::kNone: break;
  }
  return AF_UNSPEC;
}

Status apply(int fd, int domain, int type, const SocketOptions& options) {
  if (domain != AF_UNIX) {
    if (options.reuse_port) TRY(set(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
    if (type == SOCK_STREAM && options.no_delay) TRY(set(fd, IPPROTO_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
    if (domain == AF_INET6) TRY(set(fd, IPPROTO_IPV6, IPV6_V6ONLY, options.only_ipv6 ? 1 : 0, "IPV6_V6ONLY"));
  }
  if (options.send_buffer_bytes != 0)
    TRY(set(fd, SOL_SOCKET, SO_SNDBUF, static_cast<int>(options.send_buffer_bytes), "SO_SNDBUF"));
  if (options.receive_buffer_bytes != 0)
    TRY(set(fd, SOL_SOCKET, SO_RCVBUF, static_cast<int>(options.receive_buffer_bytes), "SO_RCVBUF"));
  return {};
}

template <typename Call>
Result<Address> asked(int fd, Call&& call, const char* what) {
  if (fd < 0) return Address();
  Address address;
  socklen_t length = Address::kCapacity;
  if (call(fd, address.raw_room(), &length) != 0) return fail(Error::from_errno(errno, what));
  address.set_raw_length(length);
  return address;
}

}  // namespace

Result<Network*> current_network() {
  Worker* worker = current_worker();
  if (worker == nullptr) return nullptr;
  Network* network = worker->scheduler().options().network;
  if (network == nullptr && worker->simulated())
    return fail(Errc::kUnsupported, "a Simulation has no network: give it one (Simulation::use_network)");
  return network;
}

Result<Descriptor> Socket::open(const Address& address, int type, const SocketOptions& options) {
  const int domain = domain_of(address);
  if (domain == AF_UNSPEC) return fail(Errc::kInvalid, "a socket needs an address of IPv4, IPv6 or Unix");
  if (type == SOCK_STREAM && options.kind == SocketKind::kPacket) {
    if (domain != AF_UNIX) return fail(Errc::kInvalid, "packets in a connection are offered by Unix sockets only");
    type = SOCK_SEQPACKET;
  }
  Descriptor made(socket(domain, type | SOCK_CLOEXEC, 0));
  if (!made) return fail(Error::from_errno(errno, "socket"));
  TRY(apply(made.get(), domain, type, options));
  return made;
}

Result<Descriptor> Socket::open_bound(const Address& address, int type, const SocketOptions& options) {
  Descriptor made = TRY(open(address, type, options));
  if (type == SOCK_STREAM && options.reuse_address && address.family() != AddressFamily::kUnix)
    TRY(set(made.get(), SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  if (::bind(made.get(), address.raw(), address.raw_length()) != 0)
    return fail(Error::from_errno(errno, "bind to " + address.to_text()));
  return made;
}

Result<Address> Socket::own_address() const { return asked(fd(), ::getsockname, "getsockname"); }
Result<Address> Socket::others_address() const { return asked(fd(), ::getpeername, "getpeername"); }

Status Socket::set_option(int level, int name, int value) {
  if (fd() < 0) return fail(Errc::kUnsupported, "options are those of the kernel's sockets");
  return set(fd(), level, name, value, "setsockopt");
}

Result<int> Socket::option(int level, int name) const {
  if (fd() < 0) return fail(Errc::kUnsupported, "options are those of the kernel's sockets");
  int value = 0;
  socklen_t size = sizeof value;
  if (getsockopt(fd(), level, name, &value, &size) != 0) return fail(Error::from_errno(errno, "getsockopt"));
  return value;
}

Status Socket::set_reset_on_close(bool reset) {
  if (fd() < 0) return fail(Errc::kUnsupported, "options are those of the kernel's sockets");
  const linger value{reset ? 1 : 0, 0};
  if (setsockopt(fd(), SOL_SOCKET, SO_LINGER, &value, sizeof value) != 0)
    return fail(Error::from_errno(errno, "SO_LINGER"));
  return {};
}

}  // namespace weft::sched::io
