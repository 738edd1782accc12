// kernel/result.h - a value or the reason there is none.
//
//   Result<Superblock> read_superblock(BlockDevice& device);
//   auto superblock = TRY(read_superblock(device));      // passes the error on to the caller
//
// Nothing in Weft throws; every fallible function returns one of these and no caller may ignore it.
//
// TRY is a short name, so only those who define WEFT_SHORT_TRY get it: this tree does, and whoever uses an installed library
// may. WEFT_TRY is there always; headers use that one.
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
#define WEFT_TRY(expression) WEFT_TRY_AS(WEFT_TRY_NAME(__COUNTER__), expression)
#ifdef WEFT_SHORT_TRY
#define TRY(expression) WEFT_TRY(expression)
#endif
// A name of its own each time: the expression may be a lambda that has TRYs in it.
#define WEFT_TRY_NAME(number) WEFT_TRY_JOIN(try_result_, number)
#define WEFT_TRY_JOIN(left, right) left##right
// __extension__: no word from -Wpedantic to those who include this.
#define WEFT_TRY_AS(name, expression)                                 \
  __extension__({                                                     \
    auto name = (expression);                                         \
    if (!name) [[unlikely]]                                           \
      return std::unexpected<::weft::Error>(std::move(name).error()); \
    std::move(name).value();                                          \
  })
