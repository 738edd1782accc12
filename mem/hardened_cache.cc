// mem/hardened_cache.cc - see hardened_cache.h.
#include "mem/hardened_cache.h"

#include <pthread.h>

#include <mutex>
#include <new>

#include "kernel/spinlock.h"
#include "mem/hardened_slabs.h"
#include "mem/page_runs.h"
#include "mem/segment.h"
#include "mem/seldom.h"

namespace weft::mem {

WEFT_SELDOM constinit HardenedCache no_cache;
constinit thread_local HardenedCache* current_cache = &no_cache;

namespace {

// Of each class about so many bytes wait at least, and come at once.
constexpr std::size_t kKeptBytes = 4096;
constexpr std::size_t kBatchBytes = 16384;

struct Spares {
  Spinlock lock;
  HardenedCache* first = nullptr;
  unsigned made = 0;
  bool has_key = false;
  bool tried_key = false;
  pthread_key_t key{};
};
constinit Spares spares;

void thread_ends(void* cache) noexcept {
  auto* mine = static_cast<HardenedCache*>(cache);
  current_cache = &no_cache;
  mine->flush();
  const std::scoped_lock guard(spares.lock);
  mine->next_spare = spares.first;
  spares.first = mine;
}

}  // namespace

HardenedCache::HardenedCache(unsigned shard) noexcept : shard_(shard) {
  for (unsigned c = 0; c < kClasses; ++c) {
    const std::size_t bytes = kClassBytes[c];
    Queue& queue = queues_[c];
    queue.kept = static_cast<std::uint16_t>(std::clamp<std::size_t>(kKeptBytes / bytes, 2, 16));
    queue.batch = static_cast<std::uint16_t>(std::clamp<std::size_t>(kBatchBytes / bytes, 4, 32));
    queue.most = static_cast<std::uint16_t>(queue.kept + 3 * queue.batch);
  }
}

bool HardenedCache::refill(unsigned size_class, FreeBlock& block) noexcept {
  Queue& queue = queues_[size_class];
  std::array<FreeBlock, kSlots> blocks;
  const std::size_t count = hardened_slabs.take(shard_, size_class, blocks.data(), queue.batch);
  if (count == 0) {
    // What waits is better than nothing.
    if (queue.count() == 0) return false;
    block = slots_[size_class][queue.first++ % kSlots];
    return true;
  }
  for (std::size_t i = 1; i < count; ++i) slots_[size_class][--queue.first % kSlots] = blocks[i];
  block = blocks[0];
  return true;
}

void HardenedCache::give_back(unsigned size_class, std::size_t count) noexcept {
  Queue& queue = queues_[size_class];
  std::array<FreeBlock, kSlots> blocks;
  for (std::size_t i = 0; i < count; ++i) blocks[i] = slots_[size_class][queue.first++ % kSlots];
  hardened_slabs.give(blocks.data(), count);
}

void HardenedCache::make_room(unsigned size_class) noexcept { give_back(size_class, queues_[size_class].batch); }

void HardenedCache::flush() noexcept {
  for (unsigned c = 0; c < kClasses; ++c) {
    if (queues_[c].count() > 0) give_back(c, queues_[c].count());
  }
}

HardenedCache* attach_cache() noexcept {
  if (current_cache != &no_cache) return current_cache;
  HardenedCache* cache = nullptr;
  unsigned shard = 0;
  {
    const std::scoped_lock guard(spares.lock);
    if (!spares.tried_key) {
      spares.tried_key = true;
      // Without a key what ended threads had stays where it is.
      spares.has_key = pthread_key_create(&spares.key, &thread_ends) == 0;
    }
    cache = spares.first;
    if (cache != nullptr) {
      spares.first = cache->next_spare;
    } else {
      shard = spares.made++ % HardenedSlabs::kShards;
    }
  }
  if (cache == nullptr) {
    constexpr std::size_t kUnits = (sizeof(HardenedCache) + kUnitBytes - 1) / kUnitBytes;
    const PageRuns::Run run = page_runs.allocate(kUnits, Kind::kOwn);
    if (run.first == nullptr) return nullptr;
    cache = ::new (start_of(*run.first)) HardenedCache(shard);
  }
  // Before pthread_setspecific(), which allocates for keys beyond the first 32.
  current_cache = cache;
  if (spares.has_key) pthread_setspecific(spares.key, cache);
  return cache;
}

void cache_before_fork() noexcept { spares.lock.lock(); }
void cache_after_fork() noexcept { spares.lock.unlock(); }

}  // namespace weft::mem
