// mem/profile.h - who holds the memory: a sampled heap profile, and what a program still holds when it ends.
//
// Sampling costs nothing on the fast paths, 2 to 20 us for each sample, and 16 KiB and more for its books. One byte in `sample_bytes` is
// sampled, with the stack that allocated its block; a block of n bytes is so with the chance 1 - exp(-n/sample_bytes). Of s
// samples a sum is right to about one in sqrt(s): a leak of 50 MiB, at one in 512 KiB, to a tenth. Blocks allocated before the
// start, and those of a mem::Heap, are not in it.
// At start: WEFT_HEAP=profile[=FILE],sample=SIZE,leaks[=FILE]; libweft-mem(7).
// All functions are thread-safe and do not park. Those that write say false with errno set, and allocate nothing.
// Tests: tests/mem/profile_test.cc.
#pragma once

#include <cstddef>

namespace weft::mem {

class TextFile;

// From now on, for good; > 0, 1: every block. A second call changes the rate, and profiles are then scaled by the last. False: no memory.
[[gnu::visibility("default")]] bool start_profile(std::size_t sample_bytes = std::size_t{512} << 10) noexcept;
[[gnu::visibility("default")]] bool is_profiling() noexcept;

// In the text format of gperftools ("heap profile:", heap_v2), which `pprof PROGRAM FILE` reads: what is in use, and what was ever allocated.
[[gnu::visibility("default")]] bool write_profile(const char* path) noexcept;
// For people: the stacks that hold the most now, the sums scaled to what they stand for. At the end of a process these are leaks, or what
// is meant to live as long as it.
[[gnu::visibility("default")]] bool write_holders(const char* path) noexcept;

// Whether any sampled block is there.
bool has_holders() noexcept;

// The same to where somebody else writes.
void add_profile(TextFile& to) noexcept;
void add_holders(TextFile& to) noexcept;

// Standard error hears where a block was allocated and freed, as far as that is known. Of fatal(): allocates nothing.
void tell_origin(const void* block) noexcept;

}  // namespace weft::mem
