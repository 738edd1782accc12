// mem/line.h - a line of text put together without allocating, for standard error. Internal.
#pragma once

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weft::mem {

// What is too long is cut.
class Line {
 public:
  Line& add(std::string_view text) noexcept {
    for (const char c : text) put(c);
    return *this;
  }
  Line& add_number(std::uint64_t value) noexcept { return add_digits(value, 10); }
  Line& add_address(const void* where) noexcept {
    return add("0x").add_digits(reinterpret_cast<std::uintptr_t>(where), 16);
  }
  std::string_view text() const noexcept { return {text_.data(), length_}; }
  // With a line break.
  void write_out() noexcept {
    text_[length_++] = '\n';
    static_cast<void>(!write(STDERR_FILENO, text_.data(), length_));
    length_ = 0;
  }

 private:
  static constexpr std::size_t kRoom = 400;

  void put(char c) noexcept {
    if (length_ < kRoom) text_[length_++] = c;
  }
  Line& add_digits(std::uint64_t value, unsigned base) noexcept {
    std::array<char, 20> digits;
    std::size_t count = 0;
    do digits[count++] = "0123456789abcdef"[value % base];
    while ((value /= base) != 0);
    while (count > 0) put(digits[--count]);
    return *this;
  }

  std::array<char, kRoom + 1> text_;
  std::size_t length_ = 0;
};

}  // namespace weft::mem
