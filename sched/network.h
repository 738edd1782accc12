// sched/network.h - what stands between sockets and the kernel when it is not the kernel: the door for a simulated network (simulated_network.h).
//
//   Stream, Listener, Datagrams  ->  the kernel's sockets
//                                ->  [Network], where the runtime has one (Runtime::Options::network, Simulation::use_network)
//
// The types of stream.h, listener.h and datagrams.h have a descriptor, or one of the ends below: one branch each call. A
// Simulation without a network has no sockets: making one fails with kUnsupported, since virtual time does not pass outside.
//
// An implementation keeps what those headers promise: deadlines, kTimedOut, kCancelled for a fiber asked to stop, 0 bytes at
// the end of a stream. Calls come from any fiber. An end is destroyed with no call in progress on it.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernel/result.h"
#include "sched/address.h"
#include "sched/deadline.h"

namespace weft::sched::io {

struct SocketOptions;

// Which directions of a connection are to end.
enum class Shutdown : std::uint8_t { kRead, kWrite, kBoth };

class Network {
 public:
  class StreamEnd {
   public:
    virtual ~StreamEnd() = default;
    virtual Result<std::size_t> read_some(std::span<const iovec> into, Deadline deadline) = 0;
    virtual Result<std::size_t> write_some(std::span<const iovec> from, Deadline deadline) = 0;
    virtual Status shutdown(Shutdown which) = 0;
    [[nodiscard]] virtual Address local_address() const = 0;
    [[nodiscard]] virtual Address peer_address() const = 0;
  };
  class ListenerEnd {
   public:
    virtual ~ListenerEnd() = default;
    virtual Result<std::unique_ptr<StreamEnd>> accept(Deadline deadline) = 0;
    // Makes accept() fail with kClosed, now and from now on.
    virtual void shutdown() noexcept = 0;
    [[nodiscard]] virtual Address local_address() const = 0;
  };
  class DatagramEnd {
   public:
    virtual ~DatagramEnd() = default;
    virtual Status send_to(std::span<const std::byte> message, const Address& to, Deadline deadline) = 0;
    struct Received {
      std::size_t size_bytes = 0;  // as much as there was room for
      bool cut = false;            // there was more
      Address from;
    };
    virtual Result<Received> receive_from(std::span<std::byte> into, Deadline deadline) = 0;
    [[nodiscard]] virtual Address local_address() const = 0;
  };

  virtual ~Network() = default;
  virtual Result<std::unique_ptr<StreamEnd>> connect(const Address& to, const SocketOptions& options,
                                                     Deadline deadline) = 0;
  virtual Result<std::unique_ptr<ListenerEnd>> listen(const Address& at, const SocketOptions& options) = 0;
  virtual Result<std::unique_ptr<DatagramEnd>> bind(const Address& at, const SocketOptions& options) = 0;

 protected:
  Network() = default;
  Network(const Network&) = default;
  Network& operator=(const Network&) = default;
};

// The calling fiber's; null: the kernel. kUnsupported in a Simulation that has none.
Result<Network*> current_network();

}  // namespace weft::sched::io
