// mem/keep_errno.h - what free() and a purge must leave as it was for their caller. Internal.
#pragma once

#include <cerrno>

namespace weft::mem {

class KeepErrno {
 public:
  KeepErrno() noexcept : kept_(errno) {}
  ~KeepErrno() { errno = kept_; }
  KeepErrno(const KeepErrno&) = delete;
  KeepErrno& operator=(const KeepErrno&) = delete;

 private:
  int kept_;
};

}  // namespace weft::mem
