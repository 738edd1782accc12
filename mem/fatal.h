// mem/fatal.h - ends the process over what the program did to its heap, in words. Internal. Allocates nothing.
#pragma once

namespace weft::mem {

// Writes "weft heap: WHAT: ADDRESS" to standard error, and where the block there was allocated and freed if that was sampled, and aborts.
[[noreturn]] void fatal(const char* what, const void* where) noexcept;

}  // namespace weft::mem
