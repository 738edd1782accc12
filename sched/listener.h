// sched/listener.h - takes connections: TCP, or Unix stream and packet sockets.
//
//   io::Listener listener = TRY(io::Listener::listen(io::Address::ipv6_any(8080)));
//   for (;;) spawn("connection", [stream = TRY(listener.accept())]() mutable { serve(stream); }).detach();
//
// accept() parks; kTimedOut, kCancelled. A connection is accepted by a call that takes it along or is left in the kernel's queue:
// none is lost when a call is given up. Any number of fibers may accept at once. EMFILE and ENFILE come back at once and the
// connection waits: close something, or sleep a little. A Unix path is a file: the listener neither removes one that is
// there nor its own. Tests: tests/sched/stream_test.cc.
#pragma once

#include <memory>

#include "kernel/result.h"
#include "sched/address.h"
#include "sched/deadline.h"
#include "sched/network.h"
#include "sched/socket.h"
#include "sched/stream.h"

namespace weft::sched::io {

class Listener : public Socket {
 public:
  // Port 0: one that is free, see local_address().
  static Result<Listener> listen(const Address& at, const SocketOptions& options = {});
  // Takes over a listening socket, such as one from systemd; it becomes O_NONBLOCK.
  static Result<Listener> adopt(Descriptor descriptor);
  Listener() noexcept = default;  // none; to be assigned to

  Result<Stream> accept(Deadline deadline = Deadline::never());
  // From any thread: accept() fails with kClosed, now and from now on.
  void shutdown() noexcept;
  [[nodiscard]] Result<Address> local_address() const;

 private:
  explicit Listener(Descriptor descriptor) noexcept : Socket(std::move(descriptor)) {}
  std::unique_ptr<Network::ListenerEnd> end_;  // null: the descriptor's
};

}  // namespace weft::sched::io
