// mem/text_file.cc - see text_file.h.
#include "mem/text_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace weft::mem {

void TextFile::add(const char* format, ...) noexcept {
  std::array<char, 1024> piece;
  va_list arguments;
  va_start(arguments, format);
  const int length = std::vsnprintf(piece.data(), piece.size(), format, arguments);
  va_end(arguments);
  if (length > 0) add_text({piece.data(), std::min(static_cast<std::size_t>(length), piece.size() - 1)});
}

void TextFile::add_text(std::string_view text) noexcept {
  while (!text.empty()) {
    if (length_ == buffer_.size()) flush();
    const std::size_t count = std::min(text.size(), buffer_.size() - length_);
    std::memcpy(buffer_.data() + length_, text.data(), count);
    length_ += count;
    text.remove_prefix(count);
  }
}

bool TextFile::flush() noexcept {
  for (std::size_t at = 0; at < length_ && error_ == 0;) {
    const ssize_t written = write(descriptor_, buffer_.data() + at, length_ - at);
    if (written >= 0) {
      at += static_cast<std::size_t>(written);
    } else if (errno != EINTR) {
      error_ = errno;
    }
  }
  length_ = 0;
  if (error_ != 0) errno = error_;
  return error_ == 0;
}

bool write_file(const char* path, void (*write)(TextFile& to)) noexcept {
  const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return false;
  int error = 0;
  {
    TextFile text(file);
    write(text);
    if (!text.flush()) error = errno;
  }
  if (close(file) != 0 && error == 0) error = errno;
  errno = error;
  return error == 0;
}

}  // namespace weft::mem
