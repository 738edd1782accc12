// tests/fuzz/fuzz_input.h - what fuzz targets share: the bytes of an input, taken piece by piece.
//
// An input never runs out in a bad way: what is not there reads as zeros. So every input is legal, and cutting one off
// makes a smaller case of the same kind.
#pragma once

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#include "kernel/log.h"

namespace weft::fuzz {

class FuzzInput {
 public:
  FuzzInput(const std::uint8_t* data, std::size_t size_bytes) : rest_(std::as_bytes(std::span(data, size_bytes))) {}

  [[nodiscard]] bool empty() const noexcept { return rest_.empty(); }
  template <typename T>
    requires std::is_trivially_copyable_v<T>
  T take() noexcept {
    T value{};
    const auto bytes = take_bytes(sizeof(T));
    if (!bytes.empty()) std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }
  // Fewer at the end.
  std::span<const std::byte> take_bytes(std::size_t count) noexcept {
    const auto bytes = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(bytes.size());
    return bytes;
  }

 private:
  std::span<const std::byte> rest_;
};

// The rest of the input as patches of `bytes`: offset (u16, modulo the size), length - 1 (u8, at most 31), content.
inline void patch(std::span<std::byte> bytes, FuzzInput& input) {
  while (!input.empty()) {
    const std::size_t offset = input.take<std::uint16_t>() % bytes.size();
    const auto content = input.take_bytes(input.take<std::uint8_t>() % 32 + 1);
    std::copy_n(content.begin(), std::min(content.size(), bytes.size() - offset),
                bytes.begin() + static_cast<std::ptrdiff_t>(offset));
  }
}

// Damage is what an input is made of, and each is reported: not to the terminal, a million times.
inline void keep_quiet() {
  static const bool quiet = [] {
    log_to(::open("/dev/null", O_WRONLY | O_CLOEXEC));
    return true;
  }();
  static_cast<void>(quiet);
}

}  // namespace weft::fuzz
