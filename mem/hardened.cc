// mem/hardened.cc - see hardened.h.
#include "mem/hardened.h"

#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <utility>

#include "kernel/spinlock.h"
#include "mem/canary.h"
#include "mem/fatal.h"
#include "mem/hardened_cache.h"
#include "mem/hardened_large.h"
#include "mem/hardened_slabs.h"
#include "mem/options.h"
#include "mem/segment.h"
#include "mem/thread_heap.h"

namespace weft::mem {

constinit std::array<std::uint64_t, 4> canary::pattern{};

namespace hardened {

constinit std::atomic<Mode> mode{Mode::kUndecided};

namespace {

constinit Spinlock deciding;

struct Block {
  Segment* segment;
  unsigned size_class;
};

// A block of a slab of this mode; segment == nullptr: it is not.
Block small_at(const void* block) noexcept {
  Segment* segment = segment_with(block);
  if (segment == nullptr) return {};
  const std::size_t unit = unit_at(*segment, block);
  if (unit >= segment->committed) return {};
  const std::uintptr_t entry = segment->map[unit].load(std::memory_order_acquire);
  if (!owns(entry)) return {};
  return {segment, static_cast<unsigned>(entry & kClassMask)};
}

// What is wrong with an address of a slab at which no block in use begins.
[[noreturn]] [[gnu::cold]] [[gnu::noinline]] void wrong_address(
    const void* address, const char* otherwise = "a block was freed twice") noexcept {
  Segment& segment = *segment_with(address);
  const Descriptor& slab = slab_at(segment, unit_at(segment, address));
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(address) - start_of(slab));
  const std::size_t bytes = kClassBytes[slab.size_class];
  if (offset / bytes >= slab.carved) fatal("free of an address at which nothing is allocated", address);
  if (offset % bytes != 0) fatal("free of an address inside a block", address);
  fatal(otherwise, address);
}
[[noreturn]] [[gnu::cold]] [[gnu::noinline]] void wrong_use(const void* address) noexcept {
  wrong_address(address, "a block was used after it had been freed");
}

[[noreturn]] [[gnu::cold]] [[gnu::noinline]] void beyond_end(const void* block) noexcept {
  fatal("a block was written to beyond its end", block);
}
[[noreturn]] [[gnu::cold]] [[gnu::noinline]] void wrong_size(const void* block) noexcept {
  fatal("a block was deleted with another size than it has", block);
}

// Before the first block of a slab there may be the end of another, which may be about to go.
[[gnu::noinline]] void check_before(const std::byte* block) noexcept {
  Segment& segment = *segment_with(block);
  if (start_of(slab_at(segment, unit_at(segment, block))) != block) return;
  if (small_at(block - 1).segment == nullptr || canary::holds(block, canary::kBytes)) return;
  std::atomic_thread_fence(std::memory_order_acquire);
  if (small_at(block - 1).segment != nullptr) fatal("memory before a block was written to", block);
}

[[gnu::always_inline]] inline BlockState& state_at(const void* block) noexcept {
  const std::size_t offset = reinterpret_cast<std::uintptr_t>(block) - first_base;
  if (offset >> kUnitShift < first_units) [[likely]]
    return first_states[offset / kMinAlign];
  return state_of(*segment_with(block), block);
}

[[gnu::always_inline]] inline void* give_out(FreeBlock block, std::size_t size, unsigned size_class) noexcept {
  std::byte* start = block.start();
  const std::size_t bytes = kClassBytes[size_class];
  expect_untouched(start, bytes, block.slack());
  canary::erase(start + bytes, block.slack());
  canary::write(start + bytes, bytes - size);
  set_slack(state_at(start), bytes - size);
  return start;
}

[[gnu::noinline]] void* allocate_cold(std::size_t size, unsigned size_class) noexcept {
  prepare_process();
  HardenedCache* cache = attach_cache();
  FreeBlock block;
  if (cache != nullptr && cache->refill(size_class, block)) return give_out(block, size, size_class);
  errno = ENOMEM;
  return nullptr;
}

[[gnu::always_inline]] inline void* allocate_small(std::size_t size, unsigned size_class) noexcept {
  FreeBlock block;
  if (!current_cache->pop(size_class, block)) [[unlikely]]
    return allocate_cold(size, size_class);
  return give_out(block, size, size_class);
}

[[gnu::noinline]] void push_cold(unsigned size_class, FreeBlock block) noexcept {
  HardenedCache* cache = attach_cache();
  if (cache == nullptr) return hardened_slabs.give(&block, 1);
  if (cache->push(size_class, block)) return;
  cache->make_room(size_class);
  cache->push(size_class, block);
}

[[gnu::always_inline]] inline void push(unsigned size_class, FreeBlock block) noexcept {
  if (!current_cache->push(size_class, block)) [[unlikely]]
    push_cold(size_class, block);
}

// Of a block at the beginning of a unit, one that is too small to wait as it is, one with a long slack; or of what is no block in use.
[[gnu::noinline]] void release_rare(std::byte* block, BlockState& state, unsigned size_class,
                                    std::size_t said) noexcept {
  const std::uint8_t was = state.load(std::memory_order_relaxed);
  if (reinterpret_cast<std::uintptr_t>(block) % kMinAlign != 0 || !is_in_use(was)) wrong_address(block);
  if (reinterpret_cast<std::uintptr_t>(block) % kUnitBytes == 0) check_before(block);
  const std::size_t bytes = kClassBytes[size_class];
  std::size_t slack = slack_of(state, was);
  if (said != kSizeUnknown && said != bytes - slack) wrong_size(block);
  if (bytes - slack >= canary::kBytes) {
    canary::retire(block, bytes - slack);
  } else {
    if (!canary::holds(block + bytes, slack)) beyond_end(block);
    canary::make_free(block, bytes);
    slack = canary::kBytes;
  }
  set_state(state, kFreed);
  push(size_class, FreeBlock(block, slack));
}

[[gnu::always_inline]] inline void release_at(void* block, BlockState& state, unsigned size_class,
                                              std::size_t said) noexcept {
  const std::uint8_t was = state.load(std::memory_order_relaxed);
  const std::size_t slack = canary::kBytes + was / 2;
  const std::size_t size = kClassBytes[size_class] - slack;
  const std::uintptr_t in_unit = reinterpret_cast<std::uintptr_t>(block) % kUnitBytes;
  auto* at = static_cast<std::byte*>(block);
  if (in_unit == 0 || in_unit % kMinAlign != 0 || !is_in_use(was) || was == kLongSlack || size < canary::kBytes)
      [[unlikely]]
    return release_rare(at, state, size_class, said);
  if (said != kSizeUnknown && said != size) [[unlikely]]
    wrong_size(block);
  canary::retire(at, size);
  set_state(state, kFreed);
  push(size_class, FreeBlock(block, slack));
}

}  // namespace

bool decide() noexcept {
  const std::scoped_lock guard(deciding);
  if (mode.load(std::memory_order_relaxed) != Mode::kUndecided) return mode == Mode::kOn;
  std::array<std::uint64_t, 2> random{0x6b79a3d15e2f84c7, reinterpret_cast<std::uintptr_t>(&canary::pattern)};
  // Early in a machine's life there is none yet.
  static_cast<void>(!getrandom(random.data(), sizeof random, GRND_NONBLOCK));
  for (int i = 0; i < 2; ++i) canary::pattern[i] = random[i] | 0x0101010101010101;
  const bool wanted = options().hardened;
  mode.store(wanted ? Mode::kOn : Mode::kOff, std::memory_order_release);
  return wanted;
}

void* allocate(std::size_t size) noexcept {
  if (size < kTableMax - canary::kBytes) [[likely]]
    return allocate_small(size, kClassTable[std::max(size, std::size_t{1}) + canary::kBytes]);
  return allocate(size, kMinAlign, false);
}

void* allocate(std::size_t size, std::size_t align, bool zero) noexcept {
  const unsigned size_class =
      size > kMaxSmall - canary::kBytes || align > kUnitBytes
          ? kClasses
          : aligned_class(std::max(size, std::size_t{1}) + canary::kBytes, std::max(align, kMinAlign));
  void* block = nullptr;
  if (size_class < kClasses) {
    block = allocate_small(size, size_class);
    if (zero && block != nullptr) std::memset(block, 0, size);
  } else {
    prepare_process();
    block = allocate_guarded(size, std::max(align, kUnitBytes), zero);
    if (block == nullptr) errno = ENOMEM;
  }
  return block;
}

void release_small(void* block, std::uintptr_t entry, std::size_t said) noexcept {
  const std::size_t offset = reinterpret_cast<std::uintptr_t>(block) - first_base;
  release_at(block, first_states[offset / kMinAlign], static_cast<unsigned>(entry & kClassMask), said);
}

bool release(void* block, std::size_t said) noexcept {
  const Block of = small_at(block);
  if (of.segment == nullptr) return release_guarded(block, said);
  release_at(block, state_of(*of.segment, block), of.size_class, said);
  return true;
}

std::size_t size_of(const void* block) noexcept {
  const Block of = small_at(block);
  if (of.segment == nullptr) return size_of_guarded(block);
  const BlockState& state = state_of(*of.segment, block);
  const std::uint8_t now = state.load(std::memory_order_relaxed);
  if (reinterpret_cast<std::uintptr_t>(block) % kMinAlign != 0 || !is_in_use(now)) wrong_use(block);
  return kClassBytes[of.size_class] - slack_of(state, now);
}

void* resize(void* block, std::size_t size) noexcept {
  const Block of = small_at(block);
  if (of.segment == nullptr) return resize_guarded(block, size);
  const std::size_t bytes = kClassBytes[of.size_class];
  if (size > bytes - canary::kBytes || size < bytes / 2) return nullptr;
  BlockState& state = state_of(*of.segment, block);
  std::byte* end = static_cast<std::byte*>(block) + bytes;
  const std::size_t slack = slack_of(state, state.load(std::memory_order_relaxed));
  if (!canary::holds(end, slack)) beyond_end(block);
  canary::erase(end, slack);
  canary::write(end, bytes - size);
  set_slack(state, bytes - size);
  return block;
}

void* allocate_for_growth(std::size_t size) noexcept { return allocate_unguarded(size); }

void flush() noexcept {
  if (current_cache != &no_cache) current_cache->flush();
}

void before_fork() noexcept {
  deciding.lock();
  quarantine_before_fork();
  cache_before_fork();
  hardened_slabs.before_fork();
}
void after_fork() noexcept {
  hardened_slabs.after_fork();
  cache_after_fork();
  quarantine_after_fork();
  deciding.unlock();
}

}  // namespace hardened
}  // namespace weft::mem
