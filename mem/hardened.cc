// mem/hardened.cc - see hardened.h.
#include "mem/hardened.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "kernel/spinlock.h"
#include "mem/canary.h"
#include "mem/fatal.h"
#include "mem/hardened_large.h"
#include "mem/hardened_lists.h"
#include "mem/hardened_slabs.h"
#include "mem/marked_block.h"
#include "mem/options.h"
#include "mem/sampling.h"
#include "mem/segment.h"
#include "mem/thread_heap.h"

namespace weft::mem {

constinit std::array<std::uint64_t, 4> canary::pattern{};

namespace hardened {

constinit std::atomic<Mode> mode{Mode::kUndecided};

namespace {

constinit Spinlock deciding;

// A block of a slab of this mode, or an address in it; segment == nullptr: it is not.
struct Block {
  Segment* segment;
  unsigned size_class;
};
Block small_at(const void* block) noexcept {
  Segment* segment = segment_with(block);
  if (segment == nullptr) return {};
  const std::size_t unit = unit_at(*segment, block);
  if (unit >= segment->committed) return {};
  const std::uintptr_t entry = segment->map[unit].load(std::memory_order_acquire);
  if (!owns(entry)) return {};
  return {segment, static_cast<unsigned>(entry & kClassMask)};
}

const Descriptor& slab_with(const void* address) noexcept {
  Segment& segment = *segment_with(address);
  return slab_at(segment, unit_at(segment, address));
}
constexpr const char* kFreedTwice = "a block was freed twice";
constexpr const char* kUsedAfterFree = "a block was used after it had been freed";

// What is wrong with an address of a slab before which there is no mark of a block in use.
[[noreturn]] [[gnu::cold]] [[gnu::noinline]] void wrong_mark(const std::byte* address, unsigned size_class,
                                                             const char* if_free) noexcept {
  const Descriptor& slab = slab_with(address);
  const BlockPlace place = place_in_slab(slab, address);
  if (place.index >= slab.carved) fatal("free of an address at which nothing is allocated", address);
  if (place.offset != 0) fatal("free of an address inside a block", address);
  if (!marked::is_free(address)) report_mark(address, size_class);
  fatal(if_free, address);
}
[[gnu::cold]] [[gnu::noinline]] void beyond_end(const void* block) noexcept {
  fatal("a block was written to beyond its end", block);
}
[[gnu::cold]] [[gnu::noinline]] void wrong_size(const void* block) noexcept {
  fatal("a block was deleted with another size than it has", block);
}

[[gnu::noinline]] std::byte* refill(unsigned size_class) noexcept {
  prepare_process();
  HardenedLists* lists = attach_lists();
  // From now on each block has to be looked at.
  if (sampling::on()) current_heap = &no_heap;
  std::byte* block = lists != nullptr ? lists->refill_from_slabs(size_class) : nullptr;
  if (block == nullptr) errno = ENOMEM;
  return block;
}

void* allocate_plain(unsigned size_class) noexcept {
  void* block = current_lists->pop(size_class);
  return block != nullptr ? block : refill(size_class);
}

void begin_sized(std::byte* block, std::size_t size) noexcept {
  marked::set_in_use(block);
  marked::set_size(block, size);
  marked::write_canary(block + size);
}

void* allocate_sized(std::size_t size, unsigned size_class) noexcept {
  std::byte* block = current_lists->pop_hidden(size_class);
  if (block == nullptr) [[unlikely]] {
    block = refill(size_class);
    if (block == nullptr) return nullptr;
  }
  if (!marked::is_free(block)) [[unlikely]]
    report_mark(block, size_class);
  begin_sized(block, size);
  return block;
}

// Of at most kMostSmall bytes.
constexpr std::size_t kMostSmall = kMaxSmall - marked::kSizedMore;
void* allocate_small(std::size_t size) noexcept {
  if (size <= marked::kMaxPlain && !is_full()) return allocate_plain(class_table[size]);
  return allocate_sized(size, class_of(size + marked::kSizedMore));
}

// Somewhere in a larger one, of which we say that it is free.
void* allocate_aligned(std::size_t size, std::size_t align) noexcept {
  auto* outer = static_cast<std::byte*>(allocate_small(size + align));
  if (outer == nullptr) return nullptr;
  const std::size_t before = -reinterpret_cast<std::uintptr_t>(outer) & (align - 1);
  if (size + align > marked::kMaxPlain || is_full()) begin_sized(outer, before + size);
  if (before == 0) return outer;
  marked::set_free(outer);
  marked::set_aligned(outer + before);
  return outer + before;
}

// The larger one of a block that may be aligned; what is neither ends the process.
[[gnu::noinline]] std::byte* outer_of(std::byte* block, unsigned size_class, const char* if_free) noexcept {
  if (marked::is_in_use(block)) return block;
  if (!marked::is_aligned(block)) wrong_mark(block, size_class, if_free);
  std::byte* outer = block - place_in_slab(slab_with(block), block).offset;
  if (!marked::is_free(outer)) report_mark(outer, size_class);
  return outer;
}

// The oldest of the quarantine.
void leave_quarantine(HardenedLists& lists, std::byte* block, unsigned size_class) noexcept {
  expect_untouched(block, size_class);
  if (!is_plain(size_class)) return lists.push_hidden(size_class, block);
  marked::set_in_use(block);
  lists.push(size_class, block);
}

// A free block, also into a quarantine that is not yet full, or after which a list may be too long.
[[gnu::noinline]] void put_away(std::byte* block, unsigned size_class) noexcept {
  HardenedLists* lists = attach_lists();
  if (lists == nullptr) return hardened_slabs.give(&block, 1);
  std::byte* oldest = lists->exchange(size_class, block);
  if (oldest == nullptr) oldest = lists->exchange_slowly(size_class, block);
  if (oldest != nullptr) leave_quarantine(*lists, oldest, size_class);
}

// As release_plain(), of a block that may be aligned.
void release_plain_slowly(std::byte* block, unsigned size_class) noexcept {
  std::byte* outer = outer_of(block, size_class, kFreedTwice);
  if (outer != block) marked::set_free(block);
  marked::retire_plain(outer, size_class);
  put_away(outer, size_class);
}

// That of a sized block, without the doubt whether somebody wrote there.
[[gnu::always_inline]] inline std::size_t checked_size_of(const std::byte* block, unsigned size_class) noexcept {
  const std::size_t size = marked::size_of(block);
  if (size > marked::sized_room(size_class)) [[unlikely]]
    report_mark(block, size_class);
  if (!marked::canary_holds(block + size)) [[unlikely]]
    beyond_end(block);
  return size;
}

// `before`: the block that is freed begins so many bytes later.
[[gnu::always_inline]] inline void release_outer(std::byte* block, unsigned size_class, std::size_t said,
                                                 std::size_t before) noexcept {
  const std::size_t size = checked_size_of(block, size_class);
  if (said != kSizeUnknown && said != size - before) [[unlikely]]
    wrong_size(block + before);
  marked::set_free(block);
  marked::clear_sized(block, size, is_full());
  HardenedLists& lists = *current_lists;
  std::byte* oldest = lists.exchange(size_class, block);
  if (oldest == nullptr) [[unlikely]]
    return put_away(block, size_class);
  if (!marked::sized_is_untouched(oldest, size_class, is_full())) [[unlikely]]
    return report_touched(oldest, size_class);
  lists.push_hidden(size_class, oldest);
}
[[gnu::noinline]] void release_aligned(std::byte* block, unsigned size_class, std::size_t said) noexcept {
  std::byte* outer = outer_of(block, size_class, kFreedTwice);
  marked::set_free(block);
  release_outer(outer, size_class, said, static_cast<std::size_t>(block - outer));
}

// Malloc's fast path from now on takes classes with room for a mark.
void begin_with_plain_blocks() noexcept {
  for (std::size_t size = 0; size <= kTableMax; ++size) {
    const unsigned with_mark =
        size <= marked::kMaxPlain ? class_of(std::max(size, std::size_t{1}) + marked::kMarkBytes) : 0;
    std::atomic_ref(class_table[size]).store(static_cast<std::uint8_t>(with_mark), std::memory_order_relaxed);
  }
  plain_classes = marked::kPlainEnd;
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
  // Where each block is looked up for samples nothing is gained by plain ones.
  if (wanted && !options().full && !options().sampling) begin_with_plain_blocks();
  mode.store(wanted ? Mode::kOn : Mode::kOff, std::memory_order_release);
  return wanted;
}

void* allocate(std::size_t size) noexcept {
  return size <= kMostSmall ? allocate_small(size) : allocate(size, kMinAlign, false);
}

void* allocate(std::size_t size, std::size_t align, bool zero) noexcept {
  void* block = nullptr;
  if (size <= kMostSmall && align <= kMinAlign) {
    block = allocate_small(size);
  } else if (size <= kMostSmall && align <= kUnitBytes && size + align <= kMostSmall) {
    block = allocate_aligned(size, align);
  } else {
    prepare_process();
    block = allocate_guarded(size, std::max(align, kUnitBytes), zero);
    if (block == nullptr) errno = ENOMEM;
    return block;
  }
  if (zero && block != nullptr) std::memset(block, 0, size);
  return block;
}

void release_plain_rarely(std::byte* block, unsigned size_class) noexcept {
  if (sampling::on()) sampling::hardened_goes(block);
  release_plain_slowly(block, size_class);
}

// A size that malloc would have looked up elsewhere, unless for some alignment it was allocate_aligned() that did.
void check_plain_size(std::byte* block, unsigned size_class, std::size_t said) noexcept {
  if (said > marked::kMaxPlain) wrong_size(block);
  static_cast<void>(outer_of(block, size_class, kFreedTwice));
  for (std::size_t align = 2 * kMinAlign; said + align <= marked::kMaxPlain; align *= 2) {
    const bool is_aligned = (reinterpret_cast<std::uintptr_t>(block) & (align - 1)) == 0;
    if (is_aligned && class_table[said + align] == size_class) return;
  }
  wrong_size(block);
}

void release_sized(std::byte* block, unsigned size_class, std::size_t said) noexcept {
  if (!marked::is_in_use(block)) [[unlikely]]
    return release_aligned(block, size_class, said);
  release_outer(block, size_class, said, 0);
}

bool release(void* block, std::size_t said) noexcept {
  const Block of = small_at(block);
  if (of.segment == nullptr) return release_guarded(block, said);
  auto* at = static_cast<std::byte*>(block);
  if (!is_plain(of.size_class)) {
    release_sized(at, of.size_class, said);
  } else {
    if (said != kSizeUnknown) expect_plain_size(at, of.size_class, said);
    release_plain_slowly(at, of.size_class);
  }
  return true;
}

std::size_t size_of(const void* block) noexcept {
  const Block of = small_at(block);
  if (of.segment == nullptr) return size_of_guarded(block);
  auto* at = static_cast<std::byte*>(const_cast<void*>(block));
  const std::byte* outer = outer_of(at, of.size_class, kUsedAfterFree);
  const std::size_t room =
      is_plain(of.size_class) ? marked::plain_room(of.size_class) : checked_size_of(outer, of.size_class);
  return room - static_cast<std::size_t>(at - outer);
}

void* resize(void* block, std::size_t size) noexcept {
  const Block of = small_at(block);
  if (of.segment == nullptr) return resize_guarded(block, size);
  auto* at = static_cast<std::byte*>(block);
  const std::size_t bytes = kClassBytes[of.size_class];
  if (size < bytes / 2 || outer_of(at, of.size_class, kUsedAfterFree) != at) return nullptr;
  if (is_plain(of.size_class)) {
    if (!marked::is_mark(at + bytes)) report_mark(at + bytes, of.size_class);
    return size <= marked::plain_room(of.size_class) ? block : nullptr;
  }
  if (size > marked::sized_room(of.size_class)) return nullptr;
  marked::erase_canary(at + checked_size_of(at, of.size_class));
  begin_sized(at, size);
  return block;
}

void* allocate_for_growth(std::size_t size) noexcept { return allocate_unguarded(size); }

void flush() noexcept {
  if (current_lists != &no_heap) current_lists->flush_to_slabs();
  flush_spare_lists();
}

void before_fork() noexcept {
  deciding.lock();
  quarantine_before_fork();
  lists_before_fork();
  hardened_slabs.before_fork();
}
void after_fork() noexcept {
  hardened_slabs.after_fork();
  lists_after_fork();
  quarantine_after_fork();
  deciding.unlock();
}

}  // namespace hardened
}  // namespace weft::mem
