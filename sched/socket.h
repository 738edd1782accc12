// sched/socket.h - what all sockets have: a descriptor, its options, its addresses.
//
// Sockets are made close-on-exec. Errors: Error::from_errno with the call's name; kRefused, kReset, kUnreachable,
// kAddressInUse, kNoSuchAddress, kTooManyFiles and kClosed (EPIPE) are there to be compared. Does not park. Tests: tests/sched/stream_test.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "kernel/result.h"
#include "sched/address.h"
#include "sched/descriptor.h"

namespace weft::sched::io {

// kPacket: of a Unix address only (SOCK_SEQPACKET); a stream each of whose writes is one message that a read takes whole.
enum class SocketKind : std::uint8_t { kStream, kPacket };

struct SocketOptions {
  SocketKind kind = SocketKind::kStream;
  // TCP: sends small writes at once (TCP_NODELAY), instead of waiting for the answer to the last; a listener's connections too.
  bool no_delay = true;
  // IP: several sockets share one port, and the kernel spreads what comes in over them (SO_REUSEPORT).
  bool reuse_port = false;
  // Listening on a port whose earlier connections linger on (SO_REUSEADDR).
  bool reuse_address = true;
  // An IPv6 socket takes no IPv4 as well.
  bool only_ipv6 = false;
  // Connections that wait to be accepted; the kernel's own limit is net.core.somaxconn.
  std::uint32_t backlog = 4096;
  // Of the kernel's buffers; 0: as the system has it.
  std::size_t send_buffer_bytes = 0;
  std::size_t receive_buffer_bytes = 0;
  // For connect(): where the connection comes from.
  std::optional<Address> from = std::nullopt;
};

class Socket {
 public:
  [[nodiscard]] int fd() const noexcept { return descriptor_.get(); }  // -1 on a Network that is not the kernel's
  [[nodiscard]] const Descriptor& descriptor() const noexcept { return descriptor_; }

  // For what SocketOptions has no word: setsockopt() and getsockopt() of an int. kUnsupported on another Network.
  Status set_option(int level, int name, int value);
  [[nodiscard]] Result<int> option(int level, int name) const;
  // Drops what is unsent and resets the connection at the end of its life, instead of ending it in order (SO_LINGER of zero).
  Status set_reset_on_close(bool reset);

 protected:
  Socket() noexcept = default;
  explicit Socket(Descriptor descriptor) noexcept : descriptor_(std::move(descriptor)) {}
  static Result<Descriptor> open(const Address& address, int type, const SocketOptions& options);
  static Result<Descriptor> open_bound(const Address& address, int type, const SocketOptions& options);
  [[nodiscard]] Result<Address> own_address() const;
  [[nodiscard]] Result<Address> others_address() const;

  Descriptor descriptor_;
};

}  // namespace weft::sched::io
