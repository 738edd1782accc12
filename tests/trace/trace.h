// tests/trace/trace.h - a program's calls of malloc, as they are recorded and as they are replayed.
//
//   program + record.so -> raw events -> [replay convert] -> trace -> [replay run], under any malloc
//
// Raw: RawEvents in the order of a counter that all threads share, up to the first whose operation is 0. A free is noted before it is
// done and an allocation after, so that an address is never given out before it was given back.
// Trace: Header, then `threads` of Stream, then their words. A block is known by an index. Words of an operation, the first with the
// operation in its upper three bits and the index below:
//   allocate, zeroed   size                    aligned   log2(alignment) << 27 | size
//   release            (none)                  resize    size, index of what comes out (of nothing: kNoIndex)
// Sizes are cut at 4 GiB, and at 128 MiB for aligned ones.
#pragma once

#include <cstdint>

namespace weft::trace {

enum class Operation : std::uint8_t { kNone, kAllocate, kZeroed, kAligned, kRelease, kResize, kResized };

struct RawEvent {
  std::uint64_t address_operation;  // address << 16 | log2(alignment) << 8 | operation
  std::uint64_t size_thread;        // size << 16 | thread
};

inline constexpr std::uint32_t kMostThreads = 1U << 16;
inline constexpr std::uint64_t kMostRawEvents = std::uint64_t{1} << 26;

struct Header {
  char magic[8];
  std::uint32_t threads;
  std::uint32_t indices;
};
inline constexpr char kMagic[8] = {'w', 'e', 'f', 't', 't', 'r', 'c', '1'};
struct Stream {
  std::uint64_t offset_bytes;
  std::uint64_t words;
};

inline constexpr unsigned kIndexBits = 29;
inline constexpr unsigned kAlignedSizeBits = 27;

}  // namespace weft::trace
