// mem/profile.cc - see profile.h.
#include "mem/profile.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>

#include "mem/keep_errno.h"
#include "mem/sampled_blocks.h"
#include "mem/sampling.h"
#include "mem/segment.h"
#include "mem/symbols.h"
#include "mem/text_file.h"

namespace weft::mem {
namespace {

// Of one stack or of all, as sampled.
struct Sums {
  std::size_t live_blocks = 0, live_bytes = 0, all_blocks = 0, all_bytes = 0;
};
Sums sums_of(const Stack& stack) noexcept {
  return {.live_blocks = stack.live_blocks,
          .live_bytes = stack.live_bytes,
          .all_blocks = stack.all_blocks,
          .all_bytes = stack.all_bytes};
}

// What samples stand for: as pprof reckons, from their mean size.
struct Estimate {
  double blocks = 0;
  double bytes = 0;
};
Estimate estimate_of(std::size_t blocks, std::size_t bytes) noexcept {
  if (blocks == 0) return {};
  const double each = stands_for(static_cast<double>(bytes) / static_cast<double>(blocks), sampling::mean);
  return {.blocks = static_cast<double>(blocks) * each, .bytes = static_cast<double>(bytes) * each};
}

void add_mappings(TextFile& to) noexcept {
  to.add_text("\nMAPPED_LIBRARIES:\n");
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (maps < 0) return;
  std::array<char, 4096> part;
  for (ssize_t count = 0; (count = read(maps, part.data(), part.size())) > 0;)
    to.add_text({part.data(), static_cast<std::size_t>(count)});
  close(maps);
}

void add_frames(TextFile& to, const Stack& stack) noexcept {
  Symbols symbols;
  if (stack.depth == 0) to.add_text("    (not known)\n");
  for (void* const frame : stack.frames()) {
    // The call lies before where it returns to.
    const Symbol symbol = symbols.of(static_cast<const std::byte*>(frame) - 1);
    to.add("    %p ", frame);
    if (symbol.function != nullptr) to.add("%.600s+0x%zx ", symbol.function, symbol.offset + 1);
    to.add("(%.300s+0x%zx)\n", symbol.file, symbol.file_offset);
  }
}

constexpr int kMostHolders = 30;

// The stack with the most bytes after `before` in the order of bytes and addresses; nullptr: there is none.
const Stack* next_holder(const Stack* before, double before_bytes) noexcept {
  const Stack* best = nullptr;
  double best_bytes = 0;
  sampled_blocks.each_stack([&](const Stack& stack) {
    const double bytes = estimate_of(stack.live_blocks, stack.live_bytes).bytes;
    if (bytes == 0 || (before != nullptr && (bytes > before_bytes || (bytes == before_bytes && &stack <= before))))
      return;
    if (best == nullptr || bytes > best_bytes || (bytes == best_bytes && &stack < best)) {
      best = &stack;
      best_bytes = bytes;
    }
  });
  return best;
}

bool fails_without_profile() noexcept {
  if (is_profiling()) return false;
  errno = ENODATA;
  return true;
}

}  // namespace

bool start_profile(std::size_t sample_bytes) noexcept { return sample_bytes > 0 && sampling::start(sample_bytes); }
bool is_profiling() noexcept { return sampling::on(); }

bool has_holders() noexcept { return next_holder(nullptr, 0) != nullptr; }

void add_profile(TextFile& to) noexcept {
  Sums all;
  sampled_blocks.each_stack([&](const Stack& stack) {
    const Sums sums = sums_of(stack);
    all.live_blocks += sums.live_blocks;
    all.live_bytes += sums.live_bytes;
    all.all_blocks += sums.all_blocks;
    all.all_bytes += sums.all_bytes;
  });
  to.add("heap profile: %zu: %zu [%zu: %zu] @ heap_v2/%zu\n", all.live_blocks, all.live_bytes, all.all_blocks,
         all.all_bytes, sampling::mean.load(std::memory_order_relaxed));
  sampled_blocks.each_stack([&](const Stack& stack) {
    const Sums sums = sums_of(stack);
    to.add("%6zu: %8zu [%6zu: %8zu] @", sums.live_blocks, sums.live_bytes, sums.all_blocks, sums.all_bytes);
    for (void* const frame : stack.frames()) to.add(" %p", frame);
    to.add_text("\n");
  });
  add_mappings(to);
}

void add_holders(TextFile& to) noexcept {
  Estimate all;
  std::size_t samples = 0;
  sampled_blocks.each_stack([&](const Stack& stack) {
    const Estimate each = estimate_of(stack.live_blocks, stack.live_bytes);
    all.blocks += each.blocks;
    all.bytes += each.bytes;
    samples += stack.live_blocks;
  });
  to.add("weft heap: process %d holds about %.0f bytes in %.0f blocks, by %zu samples of one byte in %zu\n", getpid(),
         all.bytes, all.blocks, samples, sampling::mean.load(std::memory_order_relaxed));
  const Stack* holder = nullptr;
  double bytes = 0;
  for (int nth = 0; nth < kMostHolders && (holder = next_holder(holder, bytes)) != nullptr; ++nth) {
    const Sums sums = sums_of(*holder);
    const Estimate each = estimate_of(sums.live_blocks, sums.live_bytes);
    bytes = each.bytes;
    to.add("  %.0f bytes in %.0f blocks (%zu samples) allocated at\n", each.bytes, each.blocks, sums.live_blocks);
    add_frames(to, *holder);
  }
}

bool write_profile(const char* path) noexcept { return !fails_without_profile() && write_file(path, &add_profile); }
bool write_holders(const char* path) noexcept { return !fails_without_profile() && write_file(path, &add_holders); }

void tell_origin(const void* block) noexcept {
  Sample sample;
  if (!sampling::on() || !sampled_blocks.look_up(block, sample)) return;
  TextFile to(STDERR_FILENO);
  to.add("  a block of %zu bytes was allocated there at\n", sample.bytes);
  add_frames(to, *sample.allocated_by);
  if (sample.live || sample.freed_by == nullptr) return;
  to.add_text("  and freed at\n");
  add_frames(to, *sample.freed_by);
}

}  // namespace weft::mem
