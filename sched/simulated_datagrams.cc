#include "sched/simulated_datagrams.h"

#include <algorithm>
#include <cerrno>

#include "sched/current.h"
#include "sched/simulation.h"
#include "sched/spawn.h"

namespace weft::sched {
namespace {

constexpr std::size_t kMostBytes = 65'507;  // of one UDP datagram over IPv4

}  // namespace

void SimulatedMailbox::put(std::int64_t arrives_ns, Message message) {
  bytes += message.bytes.size();
  const auto put_in = messages.emplace(arrives_ns, std::move(message));
  if (put_in == messages.begin()) changed.notify();  // it waits for the first
}

void SimulatedMailbox::lose_from(const SimulatedHost& sender) {
  for (auto next = messages.upper_bound(now().count()); next != messages.end();) {
    const auto message = next++;
    if (message->second.sender != &sender) continue;
    bytes -= message->second.bytes.size();
    messages.erase(message);
  }
}

Status SimulatedDatagramEnd::send_to(std::span<const std::byte> message, const io::Address& to, Deadline) {
  simulation_point();
  if (stop_requested()) return fail(Errc::kCancelled);
  TRY(mailbox_->place.enter());
  if (message.size() > kMostBytes) return fail(Error::from_errno(EMSGSIZE, "sendmsg"));
  SimulatedMailbox* mailbox = TRY(find_(*mailbox_->place.host, to));
  if (mailbox != nullptr) deliver(message, *mailbox);
  return {};
}

void SimulatedDatagramEnd::deliver(std::span<const std::byte> message, SimulatedMailbox& to) {
  const SimulatedHost& here = *mailbox_->place.host;
  const SimulatedHost& there = *to.place.host;
  const LinkOptions& options = links_.options(here, there);
  const std::string what = "datagram of " + std::to_string(message.size()) + " bytes";
  if (!links_.reaches(here, there) || links_.draw(options.lost_permille)) {
    SimulatedLinks::note(what + " lost", here, there);
    return;
  }
  const int copies = links_.draw(options.doubled_permille) ? 2 : 1;
  for (int copy = 0; copy < copies; ++copy) {
    if (to.bytes + message.size() > links_.facts.mailbox_bytes) {
      SimulatedLinks::note(what + " dropped", here, there);
      return;
    }
    const std::int64_t arrives = links_.arrival(here, there, message.size());
    SimulatedLinks::note(what + " at " + std::to_string(arrives), here, there);
    to.put(arrives, {{message.begin(), message.end()}, mailbox_->address, &here});
  }
}

Result<SimulatedDatagramEnd::Received> SimulatedDatagramEnd::receive_from(std::span<std::byte> into,
                                                                          Deadline deadline) {
  simulation_point();
  if (stop_requested()) return fail(Errc::kCancelled);
  for (;;) {
    TRY(mailbox_->place.enter());
    const auto first = mailbox_->messages.begin();
    const bool any = first != mailbox_->messages.end();
    const Deadline next = any ? Deadline(std::chrono::nanoseconds(first->first)) : Deadline::never();
    if (any && next.passed()) {
      const SimulatedMailbox::Message message = std::move(first->second);
      mailbox_->messages.erase(first);
      mailbox_->bytes -= message.bytes.size();
      const std::size_t size = std::min(into.size(), message.bytes.size());
      std::copy_n(message.bytes.begin(), size, into.begin());
      return Received{.size_bytes = size, .cut = size < message.bytes.size(), .from = message.from};
    }
    TRY(mailbox_->changed.wait("network", deadline, next));
  }
}

}  // namespace weft::sched
