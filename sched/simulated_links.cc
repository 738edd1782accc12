#include "sched/simulated_links.h"

#include <algorithm>

#include "sched/simulation.h"

namespace weft::sched {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// What Linux takes at least for a retransmission.
constexpr std::int64_t kRetransmissionNs = 200'000'000;

}  // namespace

LinkOptions LinkOptions::draw(Random& random) {
  LinkOptions drawn;
  drawn.latency_min = microseconds(random.between(10, 1000));
  drawn.latency_max = drawn.latency_min * static_cast<std::int64_t>(random.between(1, 20));
  drawn.slow_permille = static_cast<std::uint32_t>(random.one_in(2) ? random.below(100) : 0);
  drawn.slow_max = milliseconds(random.between(1, 1000));
  drawn.lost_permille = static_cast<std::uint32_t>(random.one_in(2) ? random.below(200) : 0);
  drawn.doubled_permille = static_cast<std::uint32_t>(random.one_in(2) ? random.below(100) : 0);
  drawn.bytes_per_second = random.one_in(4) ? random.between(100'000, 100'000'000) : 0;
  return drawn;
}

SimulatedLinks::Link& SimulatedLinks::link(const SimulatedHost& from, const SimulatedHost& to) {
  const auto [found, is_new] = links_.try_emplace({from.index(), to.index()});
  if (is_new && &from != &to) found->second.options = facts.link;
  // Within a host nothing is lost, and it is quick.
  if (is_new && &from == &to)
    found->second.options = {.latency_min = microseconds(5), .latency_max = microseconds(50), .slow_permille = 0};
  return found->second;
}

std::int64_t SimulatedLinks::arrival(const SimulatedHost& from, const SimulatedHost& to, std::size_t size_bytes) {
  Link& way = link(from, to);
  const LinkOptions& options = way.options;
  std::int64_t sent = now().count();
  if (options.bytes_per_second != 0) {
    sent = std::max(sent, way.busy_until_ns) +
           static_cast<std::int64_t>(size_bytes * 1'000'000'000 / options.bytes_per_second);
    way.busy_until_ns = sent;
  }
  const bool slow = draw(options.slow_permille) && options.slow_max > options.latency_max;
  const nanoseconds low = slow ? options.latency_max : options.latency_min;
  const nanoseconds high = std::max(low, slow ? options.slow_max : options.latency_max);
  return sent + static_cast<std::int64_t>(
                    random_.between(static_cast<std::uint64_t>(low.count()), static_cast<std::uint64_t>(high.count())));
}

std::int64_t SimulatedLinks::retransmission(std::int64_t missing_ns) {
  // Each attempt waits twice as long as the one before, so the next is at most as far away as the first is past.
  const std::int64_t most = std::clamp<std::int64_t>(missing_ns, kRetransmissionNs, 120'000'000'000);
  return static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most)));
}

void SimulatedLinks::note(std::string_view what, const SimulatedHost& from, const SimulatedHost& to) {
  std::string line(what);
  Simulation::note(line.append(" ").append(from.name()).append(">").append(to.name()));
}

}  // namespace weft::sched
