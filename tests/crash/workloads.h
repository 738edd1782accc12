// tests/crash/workloads.h - which workloads there are, by number, in an order in which any beginning of them is a fair sample.
//
//   [workloads] -> workload -> life -> search
//
// First what needs several operations to happen at all (power cuts in the middle, files without copy-on-write, many
// extents); then all single operations with each kind of sync after them; then all pairs with each kind of sync
// between and after (in an order that the seed shuffles) in turns with random longer ones. Each in the settings: plain,
// smallest image, nearly full, log about to wrap, log full, in the middle of a checkpoint at three places.
// (All short sequences over few names: Mohan et al., "Finding crash-consistency bugs with bounded black-box crash testing", OSDI 2018.)
//
// Thread-safety: immutable. Tests: tests/crash/enumerate_test.cc
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/crash/workload.h"

namespace weft::crash {

enum class Family : std::uint8_t { kSpecial, kSingle, kPair, kRandom };
inline constexpr std::size_t kFamilies = 4;
[[nodiscard]] std::string_view name_of(Family family) noexcept;

class Workloads {
 public:
  explicit Workloads(std::uint64_t seed);

  struct Numbered {
    Family family;
    Workload workload;
  };
  // There is one for each number: random ones never end. Where pairs have ended, only random ones follow.
  [[nodiscard]] Numbered at(std::uint64_t number) const;
  // How many of a family there are; of random ones as many as one asks for: 0.
  [[nodiscard]] std::uint64_t size(Family family) const noexcept;
  // Numbers below this have everything but random ones.
  [[nodiscard]] std::uint64_t systematic() const noexcept;

 private:
  [[nodiscard]] Workload single(std::uint64_t index) const;
  [[nodiscard]] Workload pair(std::uint64_t index) const;
  [[nodiscard]] Workload random(std::uint64_t index) const;

  const std::uint64_t seed_;
  std::vector<Workload> special_;
};

}  // namespace weft::crash
