// sched/simulated_order.h - which fiber goes next in a Simulation, and the record of it. Internal.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sched/fiber.h"

namespace weft::sched {

class SimulatedOrder {
 public:
  explicit SimulatedOrder(std::uint64_t seed) noexcept : state_(seed) {}

  // Below `count`. SplitMix64 (Steele, Lea, Flood 2014).
  std::size_t choose(std::size_t count) noexcept {
    state_ += 0x9E3779B97F4A7C15ULL;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9ULL;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBULL;
    return static_cast<std::size_t>((mixed ^ (mixed >> 31)) % count);
  }
  void record(std::int64_t now_ns, const FiberState& fiber) {
    trace += std::to_string(now_ns);
    trace += ' ';
    trace += std::to_string(fiber.id);
    trace += ' ';
    trace += fiber.name;
    trace += '\n';
  }
  void note(std::int64_t now_ns, std::string_view text) {
    trace += std::to_string(now_ns);
    trace += " - ";
    trace += text;
    trace += '\n';
  }

  std::string trace;

 private:
  std::uint64_t state_;
};

}  // namespace weft::sched
