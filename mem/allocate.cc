// mem/allocate.cc - see allocate.h.
#include "mem/allocate.h"

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "mem/fatal.h"
#include "mem/hardened.h"
#include "mem/heap_registry.h"
#include "mem/large.h"
#include "mem/page_runs.h"
#include "mem/purge_thread.h"
#include "mem/sampling.h"
#include "mem/stack_trace.h"

namespace weft::mem {

constinit std::atomic<void (*)(void*)> foreign_free{nullptr};
constinit std::atomic<void* (*)(void*, std::size_t)> foreign_reallocate{nullptr};
constinit std::atomic<std::size_t (*)(void*)> foreign_usable_size{nullptr};

namespace {

[[gnu::cold]] void* no_memory() noexcept {
  errno = ENOMEM;
  return nullptr;
}

// With a stack where one is drawn.
[[gnu::noinline]] WEFT_HEAP_ENTRY void* allocate_sampled(std::size_t size, std::size_t align, bool zero) noexcept {
  void* block = hardened::allocate(size, align, zero);
  if (block != nullptr) sampling::hardened_allocated(block, size);
  return block;
}

[[gnu::always_inline]] inline void* allocate_hardened(std::size_t size, std::size_t align, bool zero) noexcept {
  if (sampling::on()) [[unlikely]]
    return allocate_sampled(size, align, zero);
  return align == kMinAlign && !zero ? hardened::allocate(size) : hardened::allocate(size, align, zero);
}

// What waits in this heap and in those without owner may be what is missing.
void* refill_at_last(LocalHeap& heap, unsigned size_class) noexcept {
  heap.flush();
  return heap.refill(size_class);
}

WEFT_HEAP_ENTRY void* allocate_small(unsigned size_class) noexcept {
  LocalHeap* heap = current_heap;
  if (void* block = heap->pop(size_class); block != nullptr) return block;
  if (!has_heap()) {
    heap = attach_heap();
    if (heap == nullptr) return no_memory();
    if (void* block = heap->pop(size_class); block != nullptr) return block;
  }
  purge_thread::consider();
  if (void* block = heap->refill(size_class); block != nullptr) [[likely]]
    return block;
  void* block = refill_at_last(*heap, size_class);
  return block != nullptr ? block : no_memory();
}

// The same block, which is new or has a new size.
WEFT_HEAP_ENTRY void* sampled_large(void* block) noexcept {
  if (sampling::on()) [[unlikely]]
    sampling::large_allocated(*run_at(block));
  return block;
}

WEFT_HEAP_ENTRY void* allocate_run(std::size_t size, std::size_t align, bool zero) noexcept {
  purge_thread::consider();
  if (hardened::on()) return allocate_hardened(size, align == kUnitBytes ? kMinAlign : align, zero);
  if (size > kMaxRequest) return no_memory();
  if (has_heap()) {
    current_heap->relieve();
  } else {
    prepare_process();
  }
  void* block = allocate_large(size, align, zero);
  if (block == nullptr && has_heap()) {
    current_heap->flush();
    block = allocate_large(size, align, zero);
  }
  return block != nullptr ? sampled_large(block) : no_memory();
}

struct Place {
  Segment* segment = nullptr;
  std::size_t unit = 0;
  std::uintptr_t entry = 0;
};

// segment == nullptr: not ours.
Place place_of(const void* block) noexcept {
  Segment* segment = segment_with(block);
  if (segment == nullptr) return {};
  const std::size_t unit = unit_at(*segment, block);
  // Beyond what is committed there is no map either.
  if (unit >= segment->committed) return {.segment = segment, .unit = unit};
  return {.segment = segment, .unit = unit, .entry = segment->map[unit].load(std::memory_order_acquire)};
}

void release_remote(Descriptor& slab, LocalHeap& owner, void* block) noexcept {
  if (owner.is_private())
    return &owner == sampling::heap() ? sampling::release(slab, block) : owner.free_private(slab, block);
  LocalHeap* heap = has_heap() ? current_heap : attach_heap_to_free();
  if (heap != nullptr) {
    heap->free_remote(slab, block);
  } else {
    remote::post(slab, block, block, 1);
  }
}

void release_at(void* block, const Place& place) noexcept {
  if (place.entry == kLargeEntry) {
    Descriptor& run = place.segment->descriptors[place.unit];
    if (block != start_of(run)) fatal("free of an address inside a block", block);
    free_large(run);
    return;
  }
  if (place.entry == 0) fatal("free of an address at which nothing is allocated (freed before?)", block);
  Descriptor& slab = slab_at(*place.segment, place.unit);
  LocalHeap* heap = current_heap;
  const std::uintptr_t tag = place.entry ^ reinterpret_cast<std::uintptr_t>(heap);
  if (tag < kCounted) {
    heap->push(static_cast<unsigned>(tag), block);
  } else if (tag <= kTagMask) {
    heap->free_counted(slab, block);
  } else {
    release_remote(slab, *reinterpret_cast<LocalHeap*>(place.entry & ~kTagMask), block);
  }
}

}  // namespace

namespace detail {

WEFT_HEAP_ENTRY void* allocate_slow(std::size_t size) noexcept {
  if (hardened::on()) [[unlikely]]
    return allocate_hardened(size, kMinAlign, false);
  if (size <= kMaxSmall) [[likely]]
    return allocate_small(class_of(size));
  return allocate_run(size, kUnitBytes, false);
}

WEFT_HEAP_ENTRY void release_slow(void* block) noexcept { release_slow_sized(block, hardened::kSizeUnknown); }

WEFT_HEAP_ENTRY void release_slow_sized(void* block, std::size_t size) noexcept {
  if (block == nullptr) return;
  if (hardened::on()) {
    if (sampling::on()) [[unlikely]]
      sampling::hardened_goes(block);
    if (hardened::release(block, size)) return;
  }
  const Place place = place_of(block);
  if (place.segment != nullptr) return release_at(block, place);
  if (auto* other = foreign_free.load(std::memory_order_relaxed); other != nullptr) other(block);
}

// What release() found in the map.
static std::uintptr_t entry_of(std::uintptr_t tag, const LocalHeap& heap) noexcept {
  return tag ^ reinterpret_cast<std::uintptr_t>(&heap);
}

// Of the first segment, and not of an active slab of this thread.
void release_other(void* block, std::size_t unit, std::uintptr_t tag, LocalHeap& heap) noexcept {
  if (tag <= kTagMask) [[likely]]
    return heap.free_counted(slab_at(segments[0], unit), block);
  const auto size_class = static_cast<unsigned>(tag & kClassMask);
  if ((tag & kPlainEntry) != 0) [[likely]]
    return hardened::release_plain(static_cast<std::byte*>(block), size_class, heap);
  if (hardened::owns(entry_of(tag, heap)) && !sampling::on())
    return hardened::release_sized(static_cast<std::byte*>(block), size_class, hardened::kSizeUnknown);
  release_slow(block);
}

void release_other_sized(void* block, std::size_t size, std::size_t unit, std::uintptr_t tag,
                         LocalHeap& heap) noexcept {
  if (tag <= kTagMask) [[likely]]
    return heap.free_counted(slab_at(segments[0], unit), block);
  const auto size_class = static_cast<unsigned>(tag & kClassMask);
  if ((tag & kPlainEntry) != 0) [[likely]] {
    auto* at = static_cast<std::byte*>(block);
    hardened::expect_plain_size(at, size_class, size);
    return hardened::release_plain(at, size_class, heap);
  }
  if (hardened::owns(entry_of(tag, heap)) && !sampling::on())
    return hardened::release_sized(static_cast<std::byte*>(block), size_class, size);
  release_slow_sized(block, size);
}

}  // namespace detail

WEFT_HEAP_ENTRY void* allocate_zeroed(std::size_t count, std::size_t size) noexcept {
  std::size_t bytes = 0;
  if (__builtin_mul_overflow(count, size, &bytes)) return no_memory();
  // New pages are zero already.
  if (bytes > kLeastRun) return allocate_run(bytes, kUnitBytes, true);
  void* block = allocate(bytes);
  if (block != nullptr) std::memset(block, 0, bytes);
  return block;
}

WEFT_HEAP_ENTRY void* allocate_aligned(std::size_t align, std::size_t size) noexcept {
  if (!std::has_single_bit(align)) {
    errno = EINVAL;
    return nullptr;
  }
  if (align <= 8 || (align <= kMinAlign && size > 8)) return allocate(size);
  if (hardened::on()) return allocate_hardened(size, align, false);
  if (size <= kMaxSmall && align <= kUnitBytes) {
    const unsigned size_class = aligned_class(size, align);
    if (size_class < kClasses) return allocate_small(size_class);
  }
  return allocate_run(size, std::max(align, kUnitBytes), false);
}

std::size_t usable_size(const void* block) noexcept {
  if (block == nullptr) return 0;
  if (hardened::on()) {
    const std::size_t size = hardened::size_of(block);
    if (size != hardened::kSizeUnknown) return size;
  }
  const Place place = place_of(block);
  if (place.segment == nullptr) {
    auto* other = foreign_usable_size.load(std::memory_order_relaxed);
    return other != nullptr ? other(const_cast<void*>(block)) : 0;
  }
  if (place.entry == 0) return 0;
  if (place.entry == kLargeEntry) return place.segment->descriptors[place.unit].large.bytes;
  return kClassBytes[place.entry & kClassMask];
}

bool is_ours(const void* block) noexcept { return segment_with(block) != nullptr; }

namespace {

WEFT_HEAP_ENTRY void* move_block(void* block, std::size_t old_size, std::size_t size) noexcept {
  const bool grows = size > 2 * kLeastRun && size > old_size && size <= kMaxRequest;
  void* moved = nullptr;
  if (hardened::on()) {
    moved = grows ? hardened::allocate_for_growth(size) : nullptr;
    if (moved != nullptr && sampling::on()) sampling::hardened_allocated(moved, size);
  } else if (grows) {
    moved = allocate_growing(size);
    if (moved != nullptr) sampled_large(moved);
  }
  if (moved == nullptr) moved = allocate(size);
  if (moved == nullptr) return nullptr;
  std::memcpy(moved, block, std::min(old_size, size));
  release(block);
  return moved;
}

WEFT_HEAP_ENTRY void* reallocate_hardened(void* block, std::size_t size) noexcept {
  if (size == 0) {
    release(block);
    return nullptr;
  }
  const std::size_t old_size = usable_size(block);
  // What is known of a sampled block holds for its size.
  if (!sampling::on()) {
    if (void* there = hardened::resize(block, size); there != nullptr) return there;
  }
  return move_block(block, old_size, size);
}

}  // namespace

WEFT_HEAP_ENTRY void* reallocate(void* block, std::size_t size) noexcept {
  if (block == nullptr) return allocate(size);
  if (hardened::on()) return reallocate_hardened(block, size);
  const Place place = place_of(block);
  if (place.segment == nullptr) {
    auto* other = foreign_reallocate.load(std::memory_order_relaxed);
    return other != nullptr ? other(block, size) : no_memory();
  }
  if (place.entry == 0) fatal("realloc of an address at which nothing is allocated (freed before?)", block);
  if (size == 0) {
    release(block);
    return nullptr;
  }
  if (size > kMaxRequest) return no_memory();
  if (place.entry == kLargeEntry) {
    Descriptor& run = place.segment->descriptors[place.unit];
    if (block != start_of(run)) fatal("realloc of an address inside a block", block);
    if (run.sampled) [[unlikely]]
      sampling::large_goes(run);
    if (void* there = resize_large(run, size); there != nullptr) return sampled_large(there);
    return move_block(block, run.large.bytes, size);
  }
  const std::size_t room = kClassBytes[place.entry & kClassMask];
  // A block half empty is worth moving.
  if (size <= room && size > room / 2) return block;
  if (size <= 8 && room == 16) return block;
  return move_block(block, room, size);
}

namespace {
void flush_own() noexcept {
  if (hardened::on()) {
    hardened::flush();
  } else if (has_heap()) {
    current_heap->flush();
  }
  if (sampling::on()) sampling::flush();
}
}  // namespace

std::size_t heap_idle(std::size_t budget_bytes) noexcept {
  flush_own();
  std::size_t gone = page_runs.tick();
  const std::size_t dirty = page_runs.dirty_units();
  const std::size_t budget = budget_bytes / kUnitBytes;
  if (dirty > 0 && budget > gone) gone += page_runs.purge_to(dirty - std::min(dirty, budget - gone));
  return gone * kUnitBytes;
}

std::size_t trim(std::size_t keep_bytes) noexcept {
  flush_own();
  page_runs.remove_empty_segments();
  return page_runs.purge_to(keep_bytes / kUnitBytes) * kUnitBytes;
}

}  // namespace weft::mem
