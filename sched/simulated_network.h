// sched/simulated_network.h - a network of many hosts in one Simulation, which does from a seed what real ones do to people.
//
//   SimulatedNetwork network({.seed = seed});
//   SimulatedHost& a = network.add_host("a");            // 10.0.0.1
//   SimulatedHost& b = network.add_host("b");
//   Simulation simulation(seed);
//   simulation.use_network(network);
//   simulation.use_files(network.files());
//   simulation.run([&] { a.start("server", serve); b.start("client", talk); network.cut(a, b); ... });
//
// Each way between two hosts is a link with a latency drawn for each message, a loss, a bandwidth, and a switch that cuts it. A
// datagram is lost, doubled, late or overtaken; a full mailbox drops it. The bytes of a stream come in order and whole, but in other
// pieces than they were written, and late where a datagram would have been lost. On a cut link they stall, also where only
// the acknowledgements are cut; after stream_timeout the sender's calls fail (kTimedOut with ETIMEDOUT), after a heal the bytes come.
// What is on its way when a link is cut has not arrived. A connection to a host that lost its power is reset when that is back and
// hears from it. Addresses of a host: its own, and 127.0.0.1 and ::1 for itself; Unix addresses reach within one host.
//
// Errors are those of the real sockets, os_errno() included: kRefused, kReset, kUnreachable (no host has that address), kClosed (EPIPE) ...
// Left out: acknowledgements take no time, a half-closed connection that nobody touches is never found out (no keepalive),
// SocketOptions but for `from`, `backlog` and `kind`.
//
// For a Simulation only, on its thread; it outlives run(). Each event is a line in the trace: the same seeds, the same bytes.
// Tests: tests/sched/simulated_network_test.cc, simulated_host_test.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "kernel/random.h"
#include "sched/file_system.h"
#include "sched/network.h"
#include "sched/simulated_host.h"

namespace weft::sched {

// One way of a link. Of a thousand each.
struct LinkOptions {
  // Most messages take something between, each as likely ...
  std::chrono::nanoseconds latency_min = std::chrono::microseconds(50);
  std::chrono::nanoseconds latency_max = std::chrono::microseconds(500);
  // ... and so many up to this.
  std::uint32_t slow_permille = 10;
  std::chrono::nanoseconds slow_max = std::chrono::milliseconds(20);
  std::uint32_t lost_permille = 0;
  std::uint32_t doubled_permille = 0;  // datagrams only
  std::uint64_t bytes_per_second = 0;  // 0: as many as come

  // One of many kinds, from almost perfect to hardly usable: for tests that try seeds.
  static LinkOptions draw(Random& random);
};

struct SimulatedNetworkOptions {
  std::uint64_t seed = 1;
  LinkOptions link = {};  // of each pair of hosts that set_link() has not been called for
  // When nobody answers; as Linux has them.
  std::chrono::nanoseconds connect_timeout = std::chrono::seconds(127);
  std::chrono::nanoseconds stream_timeout = std::chrono::seconds(924);
  // Written and not read yet: a stream's writer then waits, a datagram is dropped.
  std::size_t stream_bytes = 256 * 1024;
  std::size_t mailbox_bytes = 212'992;
};

class SimulatedNetwork final : public io::Network {
 public:
  using Options = SimulatedNetworkOptions;

  explicit SimulatedNetwork(const Options& options = {});
  ~SimulatedNetwork() override;
  SimulatedNetwork(const SimulatedNetwork&) = delete;
  SimulatedNetwork& operator=(const SimulatedNetwork&) = delete;

  // At 10.0.0.1, 10.0.0.2 ... or at the address given, which nobody else has. Lives as long as the network.
  SimulatedHost& add_host(std::string name);
  SimulatedHost& add_host(std::string name, const io::Address& address);
  // For Simulation::use_files(): to each fiber the files of its host.
  io::FileSystem& files() noexcept;

  void set_link(const SimulatedHost& from, const SimulatedHost& to, const LinkOptions& options);
  // One way.
  void cut(const SimulatedHost& from, const SimulatedHost& to);
  void heal(const SimulatedHost& from, const SimulatedHost& to);
  // Both ways between each of these and each of the others.
  void partition(std::span<SimulatedHost* const> island);
  void heal_all();

  // --- io::Network ---
  Result<std::unique_ptr<StreamEnd>> connect(const io::Address& to, const io::SocketOptions& options,
                                             Deadline deadline) override;
  Result<std::unique_ptr<ListenerEnd>> listen(const io::Address& at, const io::SocketOptions& options) override;
  Result<std::unique_ptr<DatagramEnd>> bind(const io::Address& at, const io::SocketOptions& options) override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft::sched
