// sched/stream.h - a connection that carries bytes both ways: TCP, or a Unix stream or packet socket.
//
//   io::Stream stream = TRY(io::Stream::connect(address, {}, Deadline::after(2s)));
//   TRY(stream.write_all(request));
//   std::size_t size = TRY(stream.read_some(buffer));       // 0: the other end has said its last
//
// Parks: connect, reads and writes; each ends with kTimedOut at its deadline and with kCancelled when its fiber is asked to stop,
// and then the kernel has let go of the buffer and the stream is as usable as before (write_all: see there). What arrives
// or is sent just before is not lost but returned. A peer that is gone: kClosed (EPIPE) or kReset; no SIGPIPE.
//
// One fiber may read while another writes. Two that read, or write, at once get and send whole calls in no order; write_all()
// of two may mix. To end a call from outside: shutdown() from any thread, or a stop request; then join, then destroy.
//
// How: a write is tried as a plain system call, which mostly succeeds, and goes to the ring if it would wait. A read goes to
// the ring, many fibers' reads with one system call: tried first, it would mostly fail and cost a call more.
// Tests: tests/sched/stream_test.cc.
#pragma once

#include <sys/uio.h>

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

class Stream : public Socket {
 public:
  // Errors: as connect(2): kRefused, kUnreachable ... On kTimedOut the attempt is given up.
  static Result<Stream> connect(const Address& to, const SocketOptions& options = {},
                                Deadline deadline = Deadline::never());
  // Two that are connected to each other (Unix).
  static Result<std::pair<Stream, Stream>> pair(SocketKind kind = SocketKind::kStream);
  // Takes over a connected socket.
  static Stream adopt(Descriptor descriptor) noexcept { return Stream(std::move(descriptor)); }
  explicit Stream(std::unique_ptr<Network::StreamEnd> end) noexcept : end_(std::move(end)) {}
  Stream() noexcept = default;  // none; to be assigned to

  // At least one byte, unless it is the end (0) or `into` is empty. A packet that does not fit is cut.
  Result<std::size_t> read_some(std::span<std::byte> into, Deadline deadline = Deadline::never());
  Result<std::size_t> read_some(std::span<const iovec> into, Deadline deadline = Deadline::never());
  // Until `into` is full or the stream at its end: how much. What was read before an error is lost.
  Result<std::size_t> read_all(std::span<std::byte> into, Deadline deadline = Deadline::never());

  // As much as there is room for, at least one byte. A packet goes whole or not at all.
  Result<std::size_t> write_some(std::span<const std::byte> from, Deadline deadline = Deadline::never());
  Result<std::size_t> write_some(std::span<const iovec> from, Deadline deadline = Deadline::never());
  // All of it. After an error some of it may have been sent, so that the stream is only good for being closed.
  Status write_all(std::span<const std::byte> from, Deadline deadline = Deadline::never());
  Status write_all(std::span<const iovec> from, Deadline deadline = Deadline::never());

  // Ends a direction, or both, for all holders of the connection; calls that wait there return.
  Status shutdown(Shutdown which);
  [[nodiscard]] Result<Address> local_address() const;
  [[nodiscard]] Result<Address> peer_address() const;

 private:
  explicit Stream(Descriptor descriptor) noexcept : Socket(std::move(descriptor)) {}
  std::unique_ptr<Network::StreamEnd> end_;  // null: the descriptor's
};

}  // namespace weft::sched::io
