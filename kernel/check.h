// kernel/check.h - assertions about our own code, never about bytes from disk, network or user.
//
// WEFT_CHECK stays in every build: an invariant whose breach could lose data ends the process, and recovery starts
// from what is durable. WEFT_DEBUG_CHECK is for the expensive ones and is compiled out with NDEBUG.
#pragma once

namespace weft {

// Says where, on standard error and in the log, and aborts. Any thread, any fiber.
[[noreturn]] void check_failed(const char* condition, const char* file, int line) noexcept;

}  // namespace weft

#define WEFT_CHECK(condition) \
  ((condition) ? static_cast<void>(0) : ::weft::check_failed(#condition, __FILE__, __LINE__))

#ifdef NDEBUG
#define WEFT_DEBUG_CHECK(condition) static_cast<void>(sizeof(!(condition)))
#else
#define WEFT_DEBUG_CHECK(condition) WEFT_CHECK(condition)
#endif
