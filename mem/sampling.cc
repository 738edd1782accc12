// mem/sampling.cc - see sampling.h.
#include "mem/sampling.h"

#include <algorithm>
#include <mutex>
#include <new>

#include "kernel/spinlock.h"
#include "mem/fatal.h"
#include "mem/heap_registry.h"
#include "mem/sampled_blocks.h"
#include "mem/segment.h"
#include "mem/stack_trace.h"
#include "mem/system_memory.h"
#include "mem/thread_heap.h"

namespace weft::mem {

namespace {

constexpr std::uint32_t kMostUses = 64;

constinit std::atomic<LocalHeap*> sampled_heap{nullptr};
constinit std::atomic<std::size_t> sample_count{0};
constinit std::atomic<std::uint64_t> seeds{0};

std::uint64_t new_seed() noexcept {
  const std::uint64_t nth = seeds.fetch_add(1, std::memory_order_relaxed) + 1;
  return (system::now_ms() * 0x9e3779b97f4a7c15 + nth) | 1;
}

// Bytes until the next large block, or block of hardened mode, that is sampled.
class SharedDistance {
 public:
  bool hits(std::size_t bytes) noexcept {
    const std::size_t mean = sampling::mean.load(std::memory_order_relaxed);
    if (mean == 1) return true;
    const std::scoped_lock guard(lock_);
    if (!drawn_) {
      drawn_ = true;
      random_ = SampleRandom(new_seed());
      left_ = distance(random_, mean);
    }
    if (bytes <= left_) {
      left_ -= bytes;
      return false;
    }
    left_ = distance(random_, mean);
    return true;
  }
  void lock() noexcept { lock_.lock(); }
  void unlock() noexcept { lock_.unlock(); }

 private:
  Spinlock lock_;
  bool drawn_ = false;
  SampleRandom random_{1};
  std::uint64_t left_ = 0;
};
constinit SharedDistance shared_distance;

// A sample of a block that is in the program's hands already. False: it could not be noted.
bool note(void* block, std::size_t bytes) noexcept {
  StackTrace stack;
  trace_stack(stack);
  Sample* sample = sampled_blocks.make();
  if (sample == nullptr) return false;
  sample->block = block;
  sample->bytes = bytes;
  if (!sampled_blocks.add(*sample, stack.span())) {
    sampled_blocks.drop(*sample);
    return false;
  }
  sample_count.fetch_add(1, std::memory_order_relaxed);
  return true;
}

void free_sampled(void* block) noexcept {
  Segment& segment = *segment_with(block);
  sampled_heap.load(std::memory_order_relaxed)->free_private(slab_at(segment, unit_at(segment, block)), block);
}

}  // namespace

HeapSamples::HeapSamples(std::uint64_t seed) noexcept : random_(seed) {
  for (unsigned c = 0; c < kClasses; ++c) until_[c] = draw(c);
}

std::uint64_t HeapSamples::draw(unsigned size_class) noexcept {
  const std::size_t mean = sampling::mean.load(std::memory_order_relaxed);
  return mean == 1 ? 0 : distance(random_, mean) / kClassBytes[size_class];
}

void HeapSamples::cut(unsigned size_class, void*& list) noexcept {
  std::uint64_t& until = until_[size_class];
  for (void** at = &list; *at != nullptr; at = &link_of(*at), --until) {
    if (until > 0) continue;
    Sample* slot = sampled_blocks.make();
    until = draw(size_class);
    if (slot == nullptr) {
      ++until;
      continue;
    }
    slot->rest = *at;
    *at = nullptr;
    slot->below = held_[size_class];
    held_[size_class] = slot;
    return;
  }
}

Sample* HeapSamples::take(unsigned size_class, void*& list) noexcept {
  Sample* slot = held_[size_class];
  if (slot == nullptr) return nullptr;
  held_[size_class] = slot->below;
  list = slot->rest;
  slot->below = nullptr;
  slot->rest = nullptr;
  return slot;
}

Sample* HeapSamples::pop(unsigned size_class) noexcept {
  Sample* slot = held_[size_class];
  if (slot != nullptr) held_[size_class] = slot->below;
  return slot;
}

void HeapSamples::put_back(unsigned size_class, Sample& slot, void*& list) noexcept {
  slot.rest = list;
  slot.below = held_[size_class];
  list = nullptr;
  held_[size_class] = &slot;
}

namespace sampling {

constinit std::atomic<std::size_t> mean{0};

bool start(std::size_t mean_bytes) noexcept {
  if (!prepare_stack_traces()) return false;
  if (sampled_heap.load(std::memory_order_acquire) == nullptr) {
    LocalHeap* made = heap_registry.attach_private();
    if (made == nullptr) return false;
    sampled_heap.store(made, std::memory_order_release);
  }
  mean.store(mean_bytes, std::memory_order_release);
  return true;
}

HeapSamples* make_heap_samples() noexcept {
  void* place = sampled_blocks.take_memory(sizeof(HeapSamples));
  return place == nullptr ? nullptr : ::new (place) HeapSamples(new_seed());
}

void* allocate(Sample& slot, unsigned size_class, LocalHeap& owner) noexcept {
  StackTrace stack;
  trace_stack(stack);
  LocalHeap& from = *sampled_heap.load(std::memory_order_acquire);
  if (slot.block == nullptr && from.lock_private()) {
    slot.block = from.pop(size_class);
    if (slot.block == nullptr) slot.block = from.refill(size_class);
    from.let_go();
  }
  slot.bytes = kClassBytes[size_class];
  slot.owner = &owner;
  if (slot.block == nullptr || !sampled_blocks.add(slot, stack.span())) {
    give_up(slot);
    return nullptr;
  }
  sample_count.fetch_add(1, std::memory_order_relaxed);
  return slot.block;
}

void give_up(Sample& slot) noexcept {
  void* block = slot.block;
  if (block != nullptr) sampled_blocks.remove(slot);
  sampled_blocks.drop(slot);
  if (block != nullptr) free_sampled(block);
}

const LocalHeap* heap() noexcept { return sampled_heap.load(std::memory_order_relaxed); }

std::size_t waiting_blocks(unsigned size_class) noexcept {
  LocalHeap* of = sampled_heap.load(std::memory_order_acquire);
  if (of == nullptr || !of->lock_private()) return 0;
  const std::size_t count = of->waiting_blocks(size_class);
  of->let_go();
  return count;
}

void flush() noexcept {
  LocalHeap* of = sampled_heap.load(std::memory_order_acquire);
  if (of == nullptr || !of->lock_private()) return;
  of->flush();
  of->let_go();
}

void release(Descriptor& slab, void* block) noexcept {
  Sample* slot = sampled_blocks.free(block);
  if (slot == nullptr) fatal("free of an address at which nothing is allocated (freed before?)", block);
  if (slot->owner == current_heap && ++slot->uses < kMostUses && current_heap->hold(*slot, slab.size_class)) return;
  give_up(*slot);
}

void large_allocated(Descriptor& run) noexcept {
  if (is_tracing() || !shared_distance.hits(run.large.bytes)) return;
  run.sampled = note(start_of(run), run.large.bytes);
}

void large_goes(Descriptor& run) noexcept {
  if (Sample* sample = sampled_blocks.free(start_of(run)); sample != nullptr) {
    sampled_blocks.remove(*sample);
    sampled_blocks.drop(*sample);
  }
  run.sampled = false;
}

void hardened_allocated(void* block, std::size_t size) noexcept {
  if (is_tracing() || !shared_distance.hits(std::max(size, std::size_t{1}))) return;
  note(block, size);
}

void hardened_goes(const void* block) noexcept {
  if (is_tracing() || !sampled_blocks.is_live(block)) return;
  StackTrace stack;
  trace_stack(stack);
  sampled_blocks.free(block, stack.span());
}

std::size_t count() noexcept { return sample_count.load(std::memory_order_relaxed); }

void before_fork() noexcept {
  shared_distance.lock();
  sampled_blocks.lock().lock();
}
void after_fork() noexcept {
  sampled_blocks.lock().unlock();
  shared_distance.unlock();
}

}  // namespace sampling
}  // namespace weft::mem
