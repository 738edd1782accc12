// mem/hardened.cc - see hardened.h.
#include "mem/hardened.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <mutex>
#include <utility>

#include "kernel/spinlock.h"
#include "mem/fatal.h"
#include "mem/large.h"
#include "mem/local_heap.h"
#include "mem/options.h"
#include "mem/page_runs.h"
#include "mem/segment.h"
#include "mem/system_memory.h"

namespace weft::mem::hardened {
namespace {

enum class Mode : int { kUndecided, kOff, kOn };
constinit std::atomic<Mode> mode{Mode::kUndecided};

// Owns the slabs, as far as the map is concerned.
constinit LocalHeap owner;

// States of a block; anything less is the size that was asked for.
constexpr std::uint16_t kFreeBlock = 0xffff;
constexpr std::uint16_t kQuarantined = 0xfffe;
static_assert(kLeastRun < kQuarantined);

constexpr std::size_t kQuarantine = 128;
constexpr std::size_t kLargeQuarantine = 16;

struct State {
  Spinlock lock;
  std::array<Descriptor*, kClasses> with_room{};
  std::array<std::array<void*, kQuarantine>, kClasses> waiting{};
  std::array<std::size_t, kClasses> oldest{};
  std::array<Descriptor*, kLargeQuarantine> large_waiting{};
  std::size_t large_oldest = 0;
  // Four pages a unit, one for the states of each slab.
  void* spare_pages = nullptr;
  std::uint64_t key = 0;
  std::uint64_t random = 0;
};
constinit State state;

std::uint64_t next_random() noexcept {
  state.random ^= state.random << 13;
  state.random ^= state.random >> 7;
  state.random ^= state.random << 17;
  return state.random;
}

void decide() noexcept {
  const std::scoped_lock guard(state.lock);
  if (mode.load(std::memory_order_relaxed) != Mode::kUndecided) return;
  if (getrandom(&state.key, sizeof state.key, GRND_NONBLOCK) != sizeof state.key) state.key = 0x6b79a3d15e2f84c7;
  // A canary byte is never zero: the end of a text written one too far is the most frequent overflow.
  state.key |= 0x0101010101010101;
  state.random = state.key * 0x9e3779b97f4a7c15 | 1;
  mode.store(options().hardened ? Mode::kOn : Mode::kOff, std::memory_order_release);
}

// By words where addresses are aligned: the same byte stands at every address with the same remainder.
std::byte canary_at(const std::byte* at) noexcept {
  return static_cast<std::byte>(state.key >> (reinterpret_cast<std::uintptr_t>(at) % 8 * 8));
}
bool is_word(const std::byte* at, const std::byte* to) noexcept {
  return reinterpret_cast<std::uintptr_t>(at) % 8 == 0 && to - at >= 8;
}
void fill_canary(std::byte* at, const std::byte* to) noexcept {
  while (at < to) {
    if (is_word(at, to)) {
      std::memcpy(at, &state.key, 8);
      at += 8;
    } else {
      *at = canary_at(at);
      ++at;
    }
  }
}
bool canary_holds(const std::byte* at, const std::byte* to) noexcept {
  while (at < to) {
    if (is_word(at, to)) {
      if (std::memcmp(at, &state.key, 8) != 0) return false;
      at += 8;
    } else if (*at == canary_at(at)) {
      ++at;
    } else {
      return false;
    }
  }
  return true;
}
// `bytes`: a multiple of 8.
bool is_zero(const std::byte* at, std::size_t bytes) noexcept {
  std::uint64_t all = 0;
  for (const std::byte* end = at + bytes; at < end; at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at, 8);
    all |= word;
  }
  return all == 0;
}

std::uint16_t* states_of(const Descriptor& slab) noexcept { return static_cast<std::uint16_t*>(slab.slab.free); }

void* take_page() noexcept {
  if (state.spare_pages == nullptr) {
    Descriptor* unit = page_runs.allocate(1, Kind::kOwn).first;
    if (unit == nullptr) return nullptr;
    for (std::size_t at = 0; at < kUnitBytes; at += kPageBytes) {
      void* page = start_of(*unit) + at;
      link_of(page) = state.spare_pages;
      state.spare_pages = page;
    }
  }
  void* page = state.spare_pages;
  state.spare_pages = link_of(page);
  return page;
}

void link(Descriptor& slab) noexcept {
  Descriptor*& head = state.with_room[slab.size_class];
  slab.listed = true;
  slab.prev = nullptr;
  slab.next = head;
  if (head != nullptr) head->prev = &slab;
  head = &slab;
}
void unlink(Descriptor& slab) noexcept {
  slab.listed = false;
  if (slab.next != nullptr) slab.next->prev = slab.prev;
  (slab.prev != nullptr ? slab.prev->next : state.with_room[slab.size_class]) = slab.next;
}

Descriptor* make_slab(unsigned size_class) noexcept {
  const unsigned units = slab_units(size_class);
  const PageRuns::Run run = page_runs.allocate(units, Kind::kSlab);
  if (run.first == nullptr) return nullptr;
  void* page = take_page();
  if (page == nullptr) {
    page_runs.free(*run.first);
    return nullptr;
  }
  Descriptor& slab = *run.first;
  if (!run.zero) std::memset(start_of(slab), 0, units * kUnitBytes);
  const std::uint32_t first = slab.lead;
  for (unsigned i = 0; i < units; ++i) run.first[i].lead = first;
  slab.size_class = static_cast<std::uint8_t>(size_class);
  slab.capacity = static_cast<std::uint16_t>(units * kUnitBytes / kClassBytes[size_class]);
  slab.carved = slab.capacity;
  slab.slab.free = page;
  std::fill_n(states_of(slab), slab.capacity, kFreeBlock);
  set_entries(slab, reinterpret_cast<std::uintptr_t>(&owner) | size_class | kCounted);
  link(slab);
  return &slab;
}
static_assert(kUnitBytes / 16 * sizeof(std::uint16_t) <= kPageBytes, "the states of a slab fit into a page");

void free_slab(Descriptor& slab) noexcept {
  unlink(slab);
  link_of(slab.slab.free) = state.spare_pages;
  state.spare_pages = slab.slab.free;
  set_entries(slab, 0);
  page_runs.free(slab);
}

void* allocate_small(std::size_t size, unsigned size_class) noexcept {
  const std::scoped_lock guard(state.lock);
  Descriptor* slab = state.with_room[size_class];
  if (slab == nullptr) slab = make_slab(size_class);
  if (slab == nullptr) return nullptr;
  std::uint16_t* states = states_of(*slab);
  std::size_t index = next_random() % slab->capacity;
  while (states[index] != kFreeBlock) index = index + 1 == slab->capacity ? 0 : index + 1;
  const std::size_t bytes = kClassBytes[size_class];
  std::byte* block = start_of(*slab) + index * bytes;
  if (!is_zero(block, bytes)) fatal("a block was written to after it had been freed", block);
  states[index] = static_cast<std::uint16_t>(size);
  if (++slab->used == slab->capacity) unlink(*slab);
  fill_canary(block + size, block + bytes);
  return block;
}

// It leaves the quarantine.
void forget(void* block) noexcept {
  Segment& segment = *segment_with(block);
  Descriptor& slab = slab_at(segment, unit_at(segment, block));
  states_of(
      slab)[static_cast<std::size_t>(static_cast<std::byte*>(block) - start_of(slab)) / kClassBytes[slab.size_class]] =
      kFreeBlock;
  --slab.used;
  if (!slab.listed) link(slab);
  if (slab.used == 0 && slab.next != nullptr) free_slab(slab);
}

void release_small(Descriptor& slab, std::byte* block, std::size_t said) noexcept {
  const std::scoped_lock guard(state.lock);
  const std::size_t bytes = kClassBytes[slab.size_class];
  const auto offset = static_cast<std::size_t>(block - start_of(slab));
  const std::size_t index = offset / bytes;
  std::uint16_t* states = states_of(slab);
  if (index >= slab.capacity || states[index] == kFreeBlock)
    fatal("free of an address at which nothing is allocated", block);
  if (states[index] == kQuarantined) fatal("a block was freed twice", block);
  if (offset % bytes != 0) fatal("free of an address inside a block", block);
  const std::size_t size = states[index];
  if (size >= bytes) fatal("what the heap knows of a block was written over", block);
  if (said != kSizeUnknown && said != size) fatal("a block was deleted with another size than it has", block);
  if (!canary_holds(block + size, block + bytes)) fatal("a block was written to beyond its end", block);
  if (index > 0 && states[index - 1] < kQuarantined && !canary_holds(block - bytes + states[index - 1], block)) {
    fatal("memory before a block was written to", block);
  }
  std::memset(block, 0, bytes);
  states[index] = kQuarantined;
  const unsigned size_class = slab.size_class;
  void*& place = state.waiting[size_class][state.oldest[size_class]];
  state.oldest[size_class] = (state.oldest[size_class] + 1) % kQuarantine;
  void* leaves = std::exchange(place, block);
  if (leaves != nullptr) forget(leaves);
}

std::size_t whole_pages(std::size_t size) noexcept { return (size + kPageBytes - 1) & ~(kPageBytes - 1); }

void* allocate_guarded(std::size_t size, std::size_t align) noexcept {
  if (size > (std::size_t{1} << 46)) return nullptr;
  const std::size_t bytes = whole_pages(size);
  auto* block = static_cast<std::byte*>(allocate_large(bytes + kPageBytes, align, true));
  if (block == nullptr) return nullptr;
  Segment& segment = *segment_with(block);
  Descriptor& run = segment.descriptors[unit_at(segment, block)];
  run.large.bytes = size;
  fill_canary(block + size, block + bytes);
  system::forbid(block + bytes, run.units * kUnitBytes - bytes);
  return block;
}

void release_guarded(Descriptor& run, std::byte* block, std::size_t said) noexcept {
  const std::size_t size = run.large.bytes;
  if (said != kSizeUnknown && said != size) fatal("a block was deleted with another size than it has", block);
  if (!canary_holds(block + size, block + whole_pages(size))) fatal("a block was written to beyond its end", block);
  // From here on it is nobody's, and whoever touches it ends.
  segment_of(run).map[unit_of(run)].store(0, std::memory_order_release);
  system::replace_forbidden(block, run.units * kUnitBytes);
  Descriptor* leaves = nullptr;
  {
    const std::scoped_lock guard(state.lock);
    leaves = std::exchange(state.large_waiting[state.large_oldest], &run);
    state.large_oldest = (state.large_oldest + 1) % kLargeQuarantine;
  }
  if (leaves == nullptr) return;
  system::commit(start_of(*leaves), leaves->units * kUnitBytes);
  page_runs.free(*leaves);
}

}  // namespace

bool on() noexcept {
  if (mode.load(std::memory_order_acquire) == Mode::kUndecided) decide();
  return mode.load(std::memory_order_relaxed) == Mode::kOn;
}

void* allocate(std::size_t size, std::size_t align) noexcept {
  // One byte of canary at least.
  const unsigned size_class =
      size >= kLeastRun || align > kUnitBytes ? kClasses : aligned_class(size + 1, std::max(align, kMinAlign));
  return size_class < kClasses ? allocate_small(size, size_class) : allocate_guarded(size, std::max(align, kUnitBytes));
}

bool release(void* block, std::size_t size) noexcept {
  Segment* segment = segment_with(block);
  if (segment == nullptr) fatal("free of an address that is not the heap's", block);
  const std::size_t unit = unit_at(*segment, block);
  if (unit >= segment->committed) fatal("free of an address at which nothing is allocated", block);
  const std::uintptr_t entry = segment->map[unit].load(std::memory_order_acquire);
  if ((entry & ~kTagMask) == reinterpret_cast<std::uintptr_t>(&owner)) {
    release_small(slab_at(*segment, unit), static_cast<std::byte*>(block), size);
    return true;
  }
  if (entry != kLargeEntry) return false;
  Descriptor& run = segment->descriptors[unit];
  if (run.large.heap.load(std::memory_order_relaxed) != nullptr) return false;
  if (block != start_of(run)) fatal("free of an address inside a block", block);
  release_guarded(run, static_cast<std::byte*>(block), size);
  return true;
}

std::size_t size_of(const void* block) noexcept {
  Segment* segment = segment_with(block);
  if (segment == nullptr) return kSizeUnknown;
  const std::size_t unit = unit_at(*segment, block);
  if (unit >= segment->committed) return kSizeUnknown;
  const std::uintptr_t entry = segment->map[unit].load(std::memory_order_acquire);
  if (entry == kLargeEntry) return segment->descriptors[unit].large.bytes;
  if ((entry & ~kTagMask) != reinterpret_cast<std::uintptr_t>(&owner)) return kSizeUnknown;
  const Descriptor& slab = slab_at(*segment, unit);
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(block) - start_of(slab));
  const std::uint16_t known = states_of(slab)[offset / kClassBytes[slab.size_class]];
  if (known >= kQuarantined) fatal("a block was used after it had been freed", block);
  return known;
}

void before_fork() noexcept { state.lock.lock(); }
void after_fork() noexcept { state.lock.unlock(); }

}  // namespace weft::mem::hardened
