// sched/simulated_datagrams.h - the mailboxes of a simulated network, to which datagrams are sent. Internal.
//
// A datagram lies in its mailbox with the time of its arrival and is received when that has come, the earliest first.
// Of a Simulation's thread. Tests: tests/sched/simulated_network_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "sched/network.h"
#include "sched/simulated_event.h"
#include "sched/simulated_links.h"

namespace weft::sched {

struct SimulatedMailbox {
  struct Message {
    std::vector<std::byte> bytes;
    io::Address from;
    const SimulatedHost* sender = nullptr;
  };
  SimulatedHost::Place place;
  io::Address address;
  SimulatedEvent changed;
  std::multimap<std::int64_t, Message> messages;  // by arrival; equal ones as they were sent
  std::size_t bytes = 0;

  void put(std::int64_t arrives_ns, Message message);
  // What was under way from there.
  void lose_from(const SimulatedHost& sender);
};

class SimulatedDatagramEnd final : public io::Network::DatagramEnd {
 public:
  // `find`: the mailbox that an address leads to from a host; null: none. kUnreachable: no host.
  using Find = std::function<Result<SimulatedMailbox*>(const SimulatedHost& from, const io::Address& to)>;
  // `gone` is called at the end of its life.
  SimulatedDatagramEnd(SimulatedLinks& links, std::unique_ptr<SimulatedMailbox> mailbox, Find find,
                       std::function<void(SimulatedMailbox&)> gone)
      : links_(links), mailbox_(std::move(mailbox)), find_(std::move(find)), gone_(std::move(gone)) {}
  ~SimulatedDatagramEnd() override { gone_(*mailbox_); }
  Status send_to(std::span<const std::byte> message, const io::Address& to, Deadline deadline) override;
  Result<Received> receive_from(std::span<std::byte> into, Deadline deadline) override;
  [[nodiscard]] io::Address local_address() const override { return mailbox_->address; }

 private:
  void deliver(std::span<const std::byte> message, SimulatedMailbox& to);

  SimulatedLinks& links_;
  std::unique_ptr<SimulatedMailbox> mailbox_;
  Find find_;
  std::function<void(SimulatedMailbox&)> gone_;
};

}  // namespace weft::sched
