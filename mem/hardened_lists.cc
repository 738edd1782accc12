// mem/hardened_lists.cc - see hardened_lists.h.
#include "mem/hardened_lists.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <new>
#include <utility>

#include "kernel/spinlock.h"
#include "mem/hardened_slabs.h"
#include "mem/page_runs.h"
#include "mem/sampling.h"
#include "mem/segment.h"
#include "mem/thread_heap.h"

namespace weft::mem {

constinit thread_local HardenedLists* current_lists = &no_heap;

namespace {

constexpr std::size_t kMostBatch = 64;

// Powers of two.
constexpr std::uint32_t depth_of(unsigned size_class) noexcept {
  const std::size_t bytes = kClassBytes[size_class];
  return bytes <= 256 ? 16 : bytes <= 1024 ? 8 : bytes <= 8192 ? 4 : 2;
}
// So many come at once. After so many frees a list is measured, and half as many are left where they are; a multiple of each depth, so
// that the slots of the quarantine go on where they were.
constexpr std::size_t batch_of(unsigned size_class) noexcept {
  return std::clamp<std::size_t>(16384 / kClassBytes[size_class], 2, kMostBatch);
}
constexpr std::size_t most_of(unsigned size_class) noexcept {
  return std::clamp<std::size_t>((std::size_t{2} << 20) / kClassBytes[size_class], 16, 4096) / 16 * 16;
}

struct Spares {
  Spinlock lock;
  HardenedLists* first = nullptr;
  unsigned made = 0;
  bool has_key = false;
  bool tried_key = false;
  pthread_key_t key{};
};
constinit Spares spares;

void thread_ends(void* lists) noexcept {
  auto* mine = static_cast<HardenedLists*>(lists);
  current_lists = &no_heap;
  current_heap = &no_heap;
  mine->shrink();
  const std::scoped_lock guard(spares.lock);
  mine->next_spare = spares.first;
  spares.first = mine;
}

}  // namespace

HardenedLists::HardenedLists(unsigned shard) noexcept : shard_(shard) {
  for (unsigned c = 0; c < kClasses; ++c) lanes_[c].mask = depth_of(c) - 1;
}

void HardenedLists::push_either(unsigned size_class, std::byte* block) noexcept {
  if (!is_plain(size_class)) return push_hidden(size_class, block);
  marked::set_in_use(block);
  push(size_class, block);
}
std::byte* HardenedLists::first_of(unsigned size_class) const noexcept {
  return is_plain(size_class) ? static_cast<std::byte*>(const_cast<void*>(list(size_class))) : hidden_[size_class];
}
std::byte* HardenedLists::next_of(unsigned size_class, std::byte* block) noexcept {
  auto* link = static_cast<std::byte*>(link_of(block));
  return is_plain(size_class) ? link : mixed(link);
}

// Slots are filled from the last down, as they will be used.
std::byte* HardenedLists::exchange_slowly(unsigned size_class, std::byte* block) noexcept {
  Lane& lane = lanes_[size_class];
  if (lane.count <= lane.mask) {
    lane.waiting[lane.mask - lane.count++] = block;
    if (lane.count > lane.mask) lane.left = lane.count;
    return nullptr;
  }
  const std::size_t most = most_of(size_class);
  shorten(size_class, most / 2);
  lane.left = static_cast<std::int64_t>(most);
  return exchange(size_class, block);
}

// What lies deepest has not been used for longest, and goes.
void HardenedLists::shorten(unsigned size_class, std::size_t to) noexcept {
  std::byte* last = first_of(size_class);
  for (std::size_t length = 1; last != nullptr && length < to; ++length) last = next_of(size_class, last);
  if (last == nullptr) return;
  std::byte* rest = next_of(size_class, last);
  link_of(last) = is_plain(size_class) ? nullptr : mixed(nullptr);
  give_back(size_class, rest);
}

void HardenedLists::shrink() noexcept {
  for (unsigned c = marked::kLeastClass; c < kClasses; ++c) shorten(c, batch_of(c));
}

void HardenedLists::give_back(unsigned size_class, std::byte* chain) noexcept {
  std::array<std::byte*, kMostBatch> blocks;
  std::size_t count = 0;
  while (chain != nullptr) {
    std::byte* block = chain;
    chain = next_of(size_class, block);
    make_free(block, size_class);
    blocks[count++] = block;
    if (count < blocks.size()) continue;
    hardened_slabs.give(blocks.data(), count);
    count = 0;
  }
  hardened_slabs.give(blocks.data(), count);
}

std::byte* HardenedLists::refill_from_slabs(unsigned size_class) noexcept {
  std::array<std::byte*, kMostBatch> blocks;
  const std::size_t count = hardened_slabs.take(shard_, size_class, blocks.data(), batch_of(size_class));
  if (count == 0) return nullptr;
  for (std::size_t i = 1; i < count; ++i) push_either(size_class, blocks[i]);
  if (is_plain(size_class)) marked::set_in_use(blocks[0]);
  return blocks[0];
}

void HardenedLists::flush_to_slabs() noexcept {
  for (unsigned c = marked::kLeastClass; c < kClasses; ++c) {
    Lane& lane = lanes_[c];
    hardened_slabs.give(lane.waiting.data() + (lane.mask + 1 - lane.count), lane.count);
    lane.left = 0;
    lane.count = 0;
    give_back(c, is_plain(c) ? static_cast<std::byte*>(take_list(c)) : std::exchange(hidden_[c], nullptr));
  }
}

std::size_t HardenedLists::blocks_of(unsigned size_class) const noexcept {
  std::size_t count = lanes_[size_class].count;
  for (std::byte* block = first_of(size_class); block != nullptr; block = next_of(size_class, block)) ++count;
  return count;
}

HardenedLists* attach_lists() noexcept {
  if (current_lists != &no_heap) return current_lists;
  HardenedLists* lists = nullptr;
  unsigned shard = 0;
  {
    const std::scoped_lock guard(spares.lock);
    if (!spares.tried_key) {
      spares.tried_key = true;
      // Without a key what ended threads had stays where it is.
      spares.has_key = pthread_key_create(&spares.key, &thread_ends) == 0;
    }
    lists = spares.first;
    if (lists != nullptr) {
      spares.first = lists->next_spare;
    } else {
      shard = spares.made++ % HardenedSlabs::kShards;
    }
  }
  if (lists == nullptr) {
    constexpr std::size_t kUnits = (sizeof(HardenedLists) + kUnitBytes - 1) / kUnitBytes;
    const PageRuns::Run run = page_runs.allocate(kUnits, Kind::kOwn);
    if (run.first == nullptr) return nullptr;
    lists = ::new (start_of(*run.first)) HardenedLists(shard);
  }
  // Before pthread_setspecific(), which allocates for keys beyond the first 32.
  current_lists = lists;
  // What is sampled has to be asked for the slow way.
  if (!is_full() && !sampling::on()) current_heap = lists;
  if (spares.has_key) pthread_setspecific(spares.key, lists);
  return lists;
}

// Nobody else finds them meanwhile.
void flush_spare_lists() noexcept {
  HardenedLists* all = nullptr;
  {
    const std::scoped_lock guard(spares.lock);
    all = std::exchange(spares.first, nullptr);
  }
  while (all != nullptr) {
    HardenedLists* lists = std::exchange(all, all->next_spare);
    lists->flush_to_slabs();
    const std::scoped_lock guard(spares.lock);
    lists->next_spare = std::exchange(spares.first, lists);
  }
}

void lists_before_fork() noexcept { spares.lock.lock(); }
void lists_after_fork() noexcept { spares.lock.unlock(); }

}  // namespace weft::mem
