// mem/interpose/malloc_numbers.cc - what glibc's malloc tells about itself, and lets be set: mallinfo, malloc_info, malloc_stats,
// malloc_trim, mallopt.
// Tests: tests/preload/, run by tests/mem/preload_test.cc.
#include <malloc.h>

#include <algorithm>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdio>

#include "mem/allocate.h"
#include "mem/stats.h"

#define WEFT_EXPORT [[gnu::visibility("default")]]

namespace {
using namespace weft::mem;

std::size_t free_blocks(const ClassStats& of) noexcept {
  return of.blocks_carved - std::min(of.blocks_carved, of.blocks_used);
}

std::size_t free_pieces(const Stats& stats) noexcept {
  std::size_t count = stats.free_runs;
  for (const ClassStats& each : stats.classes) count += free_blocks(each);
  return count;
}

int clamped(std::size_t n) noexcept { return static_cast<int>(std::min(n, std::size_t{INT_MAX})); }
}  // namespace

extern "C" {

// As glibc has it: large blocks are in hblks and hblkhd, and all other numbers are of the rest. arena is what slabs and free runs take, with
// pages or without; uordblks is what the program holds of it, fordblks what it does not, in ordblks pieces.
WEFT_EXPORT struct mallinfo2 mallinfo2() noexcept {
  const Stats stats = gather_stats();
  struct mallinfo2 info{};
  info.arena = stats.live_bytes + stats.free_bytes - stats.large_bytes;
  info.hblks = stats.large_blocks;
  info.hblkhd = stats.large_bytes;
  info.uordblks = stats.small_bytes;
  info.fordblks = info.arena - std::min(info.arena, stats.small_bytes);
  info.keepcost = stats.dirty_bytes;
  info.ordblks = free_pieces(stats);
  return info;
}

WEFT_EXPORT struct mallinfo mallinfo() noexcept {
  const struct mallinfo2 wide = mallinfo2();
  struct mallinfo info{};
  info.arena = clamped(wide.arena);
  info.ordblks = clamped(wide.ordblks);
  info.hblks = clamped(wide.hblks);
  info.hblkhd = clamped(wide.hblkhd);
  info.uordblks = clamped(wide.uordblks);
  info.fordblks = clamped(wide.fordblks);
  info.keepcost = clamped(wide.keepcost);
  return info;
}

WEFT_EXPORT int malloc_trim(std::size_t pad) noexcept { return trim(pad) > 0 ? 1 : 0; }

// Nothing here depends on glibc's parameters; who sets one is told that it is well.
WEFT_EXPORT int mallopt([[maybe_unused]] int parameter, [[maybe_unused]] int value) noexcept { return 1; }

WEFT_EXPORT int malloc_info(int options, std::FILE* stream) noexcept {
  if (options != 0) return 22;  // EINVAL
  const Stats stats = gather_stats();
  std::size_t free_bytes = stats.free_bytes;
  std::fprintf(stream, "<malloc version=\"1\">\n<heap nr=\"0\">\n<sizes>\n");
  for (unsigned c = 0; c < kClasses; ++c) {
    const std::size_t free = free_blocks(stats.classes[c]);
    if (stats.classes[c].slabs == 0) continue;
    free_bytes += free * kClassBytes[c];
    std::fprintf(stream, "<size from=\"%u\" to=\"%u\" total=\"%zu\" count=\"%zu\"/>\n",
                 c == 0 ? 1 : kClassBytes[c - 1] + 1, kClassBytes[c], free * kClassBytes[c], free);
  }
  // Without large blocks, as in mallinfo2(): now, and at most.
  const std::size_t now = stats.live_bytes + stats.dirty_bytes - std::min(stats.live_bytes, stats.large_bytes);
  const std::size_t most = std::max(now, stats.peak_bytes);
  std::fprintf(stream,
               "</sizes>\n<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n</heap>\n"
               "<total type=\"fast\" count=\"0\" size=\"0\"/>\n<total type=\"rest\" count=\"%zu\" size=\"%zu\"/>\n"
               "<total type=\"mmap\" count=\"%zu\" size=\"%zu\"/>\n"
               "<system type=\"current\" size=\"%zu\"/>\n<system type=\"max\" size=\"%zu\"/>\n"
               "<aspace type=\"total\" size=\"%zu\"/>\n<aspace type=\"mprotect\" size=\"%zu\"/>\n</malloc>\n",
               now, most, free_pieces(stats), free_bytes, stats.large_blocks, stats.large_bytes, now, most,
               stats.reserved_bytes, stats.committed_bytes);
  return 0;
}

WEFT_EXPORT void malloc_stats() noexcept {
  const Stats stats = gather_stats();
  std::fprintf(
      stderr,
      "weft heap: %zu bytes used (%zu in slabs, %zu in %zu large blocks), %zu live, %zu free and dirty, %zu at most\n",
      stats.used_bytes, stats.small_bytes, stats.large_bytes, stats.large_blocks, stats.live_bytes, stats.dirty_bytes,
      stats.peak_bytes);
  if (stats.soft_limit_bytes != SIZE_MAX || stats.hard_limit_bytes != SIZE_MAX) {
    std::fprintf(stderr, "weft heap: the soft limit was passed %zu times, the hard one refused %zu requests\n",
                 stats.soft_limit_passed, stats.hard_limit_refused);
  }
  if (stats.sample_mean_bytes != 0)
    std::fprintf(stderr, "weft heap: %zu samples of one byte in %zu\n", stats.samples, stats.sample_mean_bytes);
}

}  // extern "C"
