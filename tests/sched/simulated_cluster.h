// tests/sched/simulated_cluster.h - some hosts, their network and the simulation, for the tests of those.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <string>

#include "sched/simulated_files.h"
#include "sched/simulated_network.h"
#include "sched/simulation.h"
#include "sched/spawn.h"
#include "tests/sched/io_modes.h"

namespace weft::sched {

// Of three hosts, a, b and c.
struct SimulatedCluster {
  explicit SimulatedCluster(std::uint64_t seed, SimulatedNetworkOptions options = {})
      : network([&] {
          options.seed = seed;
          return options;
        }()),
        simulation(seed) {
    simulation.use_network(network);
    simulation.use_files(network.files());
  }
  // `test` is on no host.
  void run(std::function<void()> test) {
    const auto ended = simulation.run(std::move(test));
    EXPECT_TRUE(ended.has_value()) << ended.error().message();
  }
  // On one of them, to its end.
  static void on(SimulatedHost& host, std::function<void()> program) {
    ASSERT_TRUE(host.start("program", std::move(program)).has_value());
    ASSERT_TRUE(host.join().has_value());
  }

  SimulatedNetwork network;
  SimulatedHost& a = network.add_host("a");
  SimulatedHost& b = network.add_host("b");
  SimulatedHost& c = network.add_host("c");
  Simulation simulation;
};

// Nothing slow, nothing lost.
inline LinkOptions quick_link() {
  return {.latency_min = std::chrono::milliseconds(1), .latency_max = std::chrono::milliseconds(2), .slow_permille = 0};
}

}  // namespace weft::sched
