// tests/crash/workload.h - what is done to a file system before the power goes, as a line of text.
//
//   workloads (all short ones, seeded long ones) -> [workload] -> life
//
//   small; write A/x 0 8192; fsync A/x; rename A/x B/n
//
// First the image it begins on (see life.h), then operations, each a verb and its words. The text is all there is: what a
// run prints, another run replays. Tests: tests/crash/enumerate_test.cc
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft::crash {

// A verb and its words: {"write", "A/x", "0", "8192"}.
using Operation = std::vector<std::string>;

struct Workload {
  std::string image;
  std::vector<Operation> operations;

  [[nodiscard]] std::string text() const;
  static Workload parse(std::string_view text);
};

[[nodiscard]] std::vector<std::string> split(std::string_view text, char at);
[[nodiscard]] Operation parse_operation(std::string_view text);
// Its n-th word as a number; 0 where it has none.
[[nodiscard]] std::uint64_t number_of(const Operation& operation, std::size_t word);

}  // namespace weft::crash
