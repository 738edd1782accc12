// sched/simulated_stream.h - the connections of a simulated network. Internal.
//
//   write_some -> segment in the other side's inbox, with the time of its arrival -> read_some, which waits for that time
//
// Nobody carries a segment: it lies where it will be read, and is read when its time has come, so a connection that nobody
// touches costs nothing.
//
// Invariants   S1  in an inbox the arrivals do not decrease, so what stalls (kNever) is at its end, and all behind it stalls too
//              S2  a reset is the last of its inbox
// Of a Simulation's thread. Tests: tests/sched/simulated_network_test.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "sched/network.h"
#include "sched/simulated_event.h"
#include "sched/simulated_links.h"

namespace weft::sched {

class SimulatedConnection {
 public:
  SimulatedConnection(SimulatedLinks& links, std::uint64_t number) : links_(links), number_(number) {}

  struct Segment {
    enum class Kind : std::uint8_t { kBytes, kEnd, kReset };
    Kind kind = Kind::kBytes;
    std::int64_t arrives_ns = 0;
    std::vector<std::byte> bytes;
    std::size_t taken = 0;
  };
  struct Side {
    SimulatedHost::Place place;
    io::Address address;
    SimulatedEvent changed;
    std::deque<Segment> inbox;
    std::size_t inbox_bytes = 0;           // as its writer knows: with what was read but not acknowledged
    std::size_t unacknowledged_bytes = 0;  // read, and part of inbox_bytes, until the link back is whole
    std::int64_t unheard_since_ns = SimulatedLinks::kNever;  // what this side has sent has had no answer since then
    bool open = true;          // there is an end, and its host is in the life that made it
    bool reads_ended = false;  // shut down here
    bool writes_ended = false;
    bool broken = false;  // no more comes, and nothing may be sent
    int os_errno = 0;     // why, until a call has told
  };
  Side& side(unsigned which) noexcept { return sides_[which]; }

  // Of the end on that side.
  Result<std::size_t> read(unsigned which, std::span<const iovec> into, Deadline deadline);
  Result<std::size_t> write(unsigned which, std::span<const iovec> from, Deadline deadline);
  Status shut_down(unsigned which, io::Shutdown what);
  // `reset`: as it is when something was left unread.
  void close(unsigned which, bool reset = false);

  // After the change.
  void link_cut(const SimulatedHost& from, const SimulatedHost& to);
  void host_went_down(const SimulatedHost& host);
  // A link is whole again, or a host is back: what stalled and does not any more goes on.
  void recover();
  // Neither side will be used again.
  [[nodiscard]] bool over() const noexcept { return !sides_[0].open && !sides_[1].open; }

 private:
  using Kind = Segment::Kind;
  void send(unsigned from, Kind kind, std::vector<std::byte> bytes = {}, std::int64_t delay_ns = 0);
  void send_reset(unsigned from, std::int64_t delay_ns = 0);
  void stall(unsigned from, bool forwards);
  void recover(unsigned from);
  void settle(Side& mine);
  static std::unexpected<Error> failed(Side& mine, const char* what);
  [[nodiscard]] Deadline gives_up(const Side& mine) const noexcept;
  std::size_t take(unsigned which, std::span<const iovec> into);
  void note(unsigned from, std::string_view what) const;

  SimulatedLinks& links_;
  const std::uint64_t number_;
  Side sides_[2];  // who connected, who accepted
};

class SimulatedStreamEnd final : public io::Network::StreamEnd {
 public:
  SimulatedStreamEnd(std::shared_ptr<SimulatedConnection> connection, unsigned which) noexcept
      : connection_(std::move(connection)), which_(which) {}
  ~SimulatedStreamEnd() override { connection_->close(which_); }
  Result<std::size_t> read_some(std::span<const iovec> into, Deadline deadline) override {
    return connection_->read(which_, into, deadline);
  }
  Result<std::size_t> write_some(std::span<const iovec> from, Deadline deadline) override {
    return connection_->write(which_, from, deadline);
  }
  Status shutdown(io::Shutdown what) override { return connection_->shut_down(which_, what); }
  [[nodiscard]] io::Address local_address() const override { return connection_->side(which_).address; }
  [[nodiscard]] io::Address peer_address() const override { return connection_->side(1 - which_).address; }

 private:
  std::shared_ptr<SimulatedConnection> connection_;
  const unsigned which_;
};

}  // namespace weft::sched
