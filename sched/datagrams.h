// sched/datagrams.h - messages without a connection: UDP, or Unix datagram sockets.
//
//   io::Datagrams socket = TRY(io::Datagrams::bind(io::Address::ipv4_loopback(0)));
//   auto received = TRY(socket.receive_from(buffer, Deadline::after(100ms)));
//   TRY(socket.send_to(std::span(buffer).first(received.size_bytes), received.from));
//
// Sends and receives park; kTimedOut, kCancelled. A message arrives whole, cut to the room there is, or not at all. On a
// connected UDP socket an earlier message that found nobody is reported once as kRefused. All from any fiber at once.
// Tests: tests/sched/datagrams_test.cc.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include "kernel/result.h"
#include "sched/address.h"
#include "sched/deadline.h"
#include "sched/network.h"
#include "sched/socket.h"

namespace weft::sched::io {

class Datagrams : public Socket {
 public:
  using Received = Network::DatagramEnd::Received;

  static Result<Datagrams> bind(const Address& at, const SocketOptions& options = {});
  // Two Unix sockets that are connected to each other.
  static Result<std::pair<Datagrams, Datagrams>> pair();
  static Datagrams adopt(Descriptor descriptor) noexcept { return Datagrams(std::move(descriptor)); }
  Datagrams() noexcept = default;  // none; to be assigned to

  // From then on send() goes there, and only what comes from there is received. kUnsupported on another Network.
  Status connect(const Address& to);
  Status send(std::span<const std::byte> message, Deadline deadline = Deadline::never());
  Status send_to(std::span<const std::byte> message, const Address& to, Deadline deadline = Deadline::never());
  Result<Received> receive_from(std::span<std::byte> into, Deadline deadline = Deadline::never());
  [[nodiscard]] Result<Address> local_address() const;

 private:
  explicit Datagrams(Descriptor descriptor) noexcept : Socket(std::move(descriptor)) {}
  std::unique_ptr<Network::DatagramEnd> end_;  // null: the descriptor's
};

}  // namespace weft::sched::io
