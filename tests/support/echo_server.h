// tests/support/echo_server.h - a server that sends back what it gets: the least that a server on fibers is made of.
//
//   test::EchoServer server(TRY(io::Listener::listen(io::Address::ipv4_loopback(0))));
//   ...                                    // clients of server.address()
//   TRY(server.stop());
//
// One fiber accepts, one serves each connection; stop() asks them all to stop and waits. On a fiber, or on a plain thread, where
// threads stand in for them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "kernel/result.h"
#include "sched/listener.h"
#include "sched/spawn.h"

namespace weft::test {

class EchoServer {
 public:
  explicit EchoServer(sched::io::Listener listener, std::size_t buffer_bytes = 16 * 1024);
  ~EchoServer();
  EchoServer(const EchoServer&) = delete;
  EchoServer& operator=(const EchoServer&) = delete;

  [[nodiscard]] sched::io::Address address() const;
  // Once. What ended the accepting before its time, if anything did.
  Status stop();
  [[nodiscard]] std::uint64_t connections() const noexcept { return connections_.load(std::memory_order_relaxed); }

 private:
  Status accept_all();

  sched::io::Listener listener_;
  const std::size_t buffer_bytes_;
  std::atomic<std::uint64_t> connections_{0};
  Status ended_;
  sched::Fiber acceptor_;
};

}  // namespace weft::test
