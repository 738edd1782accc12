// sched/simulated_links.h - who of a simulated network reaches whom, and when what is sent arrives. Internal.
//
// Of a Simulation's thread. Tests: tests/sched/simulated_network_test.cc.
#pragma once

#include <cstdint>
#include <map>
#include <string_view>
#include <utility>

#include "sched/simulated_network.h"

namespace weft::sched {

class SimulatedLinks {
 public:
  // Of a time that does not come, such as the arrival of what stalls.
  static constexpr std::int64_t kNever = Deadline::never().at().count();

  explicit SimulatedLinks(const SimulatedNetworkOptions& options) : facts(options), random_(options.seed) {}

  const SimulatedNetworkOptions facts;

  Random& random() noexcept { return random_; }
  bool draw(std::uint32_t permille) noexcept { return permille != 0 && random_.below(1000) < permille; }
  const LinkOptions& options(const SimulatedHost& from, const SimulatedHost& to) { return link(from, to).options; }
  void set_options(const SimulatedHost& from, const SimulatedHost& to, const LinkOptions& options) {
    link(from, to).options = options;
  }
  // True: it was otherwise.
  bool set_cut(const SimulatedHost& from, const SimulatedHost& to, bool cut) {
    return std::exchange(link(from, to).cut, cut) != cut;
  }
  // What is sent now gets there, and somebody is there to take or refuse it.
  bool reaches(const SimulatedHost& from, const SimulatedHost& to) { return !link(from, to).cut && to.answers(); }
  bool both_ways(const SimulatedHost& a, const SimulatedHost& b) { return reaches(a, b) && reaches(b, a); }
  // When, if sent now.
  std::int64_t arrival(const SimulatedHost& from, const SimulatedHost& to, std::size_t size_bytes);
  // How much later it is sent again that nobody acknowledges; at most as long as it has been missing.
  std::int64_t retransmission(std::int64_t missing_ns);

  // A line in the trace.
  static void note(std::string_view what, const SimulatedHost& from, const SimulatedHost& to);

 private:
  struct Link {
    LinkOptions options;
    bool cut = false;
    std::int64_t busy_until_ns = 0;
  };
  Link& link(const SimulatedHost& from, const SimulatedHost& to);

  Random random_;
  std::map<std::pair<unsigned, unsigned>, Link> links_;
};

}  // namespace weft::sched
