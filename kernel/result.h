// kernel/result.h - a value or the reason there is none.
//
//   Result<Superblock> read_superblock(BlockDevice& device);
//   auto superblock = TRY(read_superblock(device));      // passes the error on to the caller
//
// Nothing in Weft throws; every fallible function returns one of these and no caller may ignore it.
#pragma once

#include <expected>
#include <utility>

#include "kernel/error.h"

namespace weft {

template <typename T>
using Result = std::expected<T, Error>;

using Status = Result<void>;

inline std::unexpected<Error> fail(Error error) { return std::unexpected<Error>(std::move(error)); }
inline std::unexpected<Error> fail(Errc code, std::string message) {
  return std::unexpected<Error>(Error(code, std::move(message)));
}

}  // namespace weft

// Evaluates to the value of `expression`, or returns its error from the enclosing function. A statement
// expression (g++ and clang both have them) so that it works in the middle of another expression.
#define TRY(expression)                                                                   \
  ({                                                                                      \
    auto try_result_ = (expression);                                                      \
    if (!try_result_) [[unlikely]] return std::unexpected<::weft::Error>(std::move(try_result_).error()); \
    std::move(try_result_).value();                                                       \
  })
