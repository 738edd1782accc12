// mem/system_memory.h - the one door to the kernel's memory calls. Internal.
//
// Nothing here allocates, throws or keeps errno. A failure is a value: nullptr or false. Tests count calls down and make
// one fail (fail_after).
// Tests: tests/mem/exhaustion_test.cc.
#pragma once

#include <array>
#include <cstddef>

namespace weft::mem::system {

struct Range {
  void* start;
  std::size_t bytes;
};

// Address space that nobody else is given, without access; it costs nothing until committed. `bytes` is a multiple of the page.
void* reserve(std::size_t bytes) noexcept;
void unreserve(void* start, std::size_t bytes) noexcept;
// Makes it readable and writable; zero until written. Under strict overcommit this is where memory is counted, and refused.
bool commit(void* start, std::size_t bytes) noexcept;
// Gives the pages back; they read as zero afterwards. Up to 64 ranges in one call where the kernel takes that (6.13).
void purge(const Range* ranges, std::size_t count) noexcept;
inline constexpr std::size_t kMaxPurgeRanges = 64;
// Moves what is at `from` to `to` without copying: both inside committed memory, page-aligned, apart. `from` reads as zero afterwards.
bool move_pages(void* from, void* to, std::size_t bytes) noexcept;
// A mapping anew over committed memory: as purge(), and the kernel joins it with its neighbours again after move_pages().
bool replace(void* start, std::size_t bytes) noexcept;
// Nobody may touch it; what it holds stays, or is gone. commit() makes it usable again.
void forbid(void* start, std::size_t bytes) noexcept;
void replace_forbidden(void* start, std::size_t bytes) noexcept;
// Huge pages where the kernel has some.
void advise_huge(void* start, std::size_t bytes) noexcept;

// Every thread of this process passes a full memory barrier before this returns. False: the kernel cannot (or a filter forbids it).
bool barrier_on_all_threads() noexcept;

// The limit on this process's address space in bytes; SIZE_MAX: none.
std::size_t address_space_limit() noexcept;
// Monotonic, in milliseconds, coarse.
unsigned long now_ms() noexcept;

// For tests: the call after `calls` more of reserve() and commit() fails, and so do all that follow; < 0: none does.
void fail_after(long calls) noexcept;

}  // namespace weft::mem::system
