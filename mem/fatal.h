// mem/fatal.h - ends the process over what the program did to its heap, in words. Internal. Allocates nothing.
#pragma once

namespace weft::mem {

// Writes "weft heap: WHAT: ADDRESS" to standard error and aborts.
[[noreturn]] void fatal(const char* what, const void* where) noexcept;

}  // namespace weft::mem
