// mem/text_file.h - text written to a descriptor piece by piece, without allocating. Internal.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace weft::mem {

class TextFile {
 public:
  explicit TextFile(int descriptor) noexcept : descriptor_(descriptor) {}
  TextFile(const TextFile&) = delete;
  TextFile& operator=(const TextFile&) = delete;
  ~TextFile() { flush(); }

  // A piece of at most 1 KiB; what is longer is cut.
  [[gnu::format(printf, 2, 3)]] void add(const char* format, ...) noexcept;
  void add_text(std::string_view text) noexcept;
  // False: something could not be written; errno says why.
  bool flush() noexcept;

 private:
  int descriptor_;
  int error_ = 0;
  std::size_t length_ = 0;
  std::array<char, 4096> buffer_;
};

// Has `write` say what `path` is to hold from now on. False: errno says why.
bool write_file(const char* path, void (*write)(TextFile& to)) noexcept;

}  // namespace weft::mem
