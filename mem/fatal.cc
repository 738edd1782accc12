// mem/fatal.cc - see fatal.h.
#include "mem/fatal.h"

#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace weft::mem {
namespace {

constexpr std::size_t kRoom = 240;

class Line {
 public:
  void add(const char* text) noexcept {
    while (*text != '\0' && length_ < kRoom) text_[length_++] = *text++;
  }
  void add_address(const void* where) noexcept {
    add("0x");
    const auto value = reinterpret_cast<std::uintptr_t>(where);
    int shift = 60;
    while (shift > 0 && (value >> shift) == 0) shift -= 4;
    for (; shift >= 0 && length_ < kRoom; shift -= 4) text_[length_++] = "0123456789abcdef"[value >> shift & 15];
  }
  void write_out() noexcept {
    text_[length_++] = '\n';
    static_cast<void>(!write(STDERR_FILENO, text_.data(), length_));
  }

 private:
  std::array<char, kRoom + 1> text_;
  std::size_t length_ = 0;
};

}  // namespace

void fatal(const char* what, const void* where) noexcept {
  Line line;
  line.add("weft heap: ");
  line.add(what);
  line.add(": ");
  line.add_address(where);
  line.write_out();
  std::abort();
}

}  // namespace weft::mem
