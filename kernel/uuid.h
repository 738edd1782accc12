// kernel/uuid.h - 128-bit names of volumes and nodes (RFC 9562, version 4). A value; thread-safe; never parks.
// Tests: tests/kernel/uuid_test.cc.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel/random.h"
#include "kernel/result.h"

namespace weft {

struct Uuid {
  std::array<std::uint8_t, 16> bytes{};  // in the order they are printed

  static Uuid make(Entropy& entropy) noexcept;
  // "8-4-4-4-12" hexadecimal digits of either case, of any version; kInvalid otherwise.
  static Result<Uuid> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
  [[nodiscard]] bool is_nil() const noexcept { return *this == Uuid{}; }
  auto operator<=>(const Uuid&) const noexcept = default;
};

}  // namespace weft
