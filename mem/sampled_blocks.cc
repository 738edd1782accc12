// mem/sampled_blocks.cc - see sampled_blocks.h.
#include "mem/sampled_blocks.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <new>

#include "mem/segment.h"
#include "mem/seldom.h"

namespace weft::mem {

WEFT_SELDOM constinit SampledBlocks sampled_blocks;

namespace {

std::size_t hash_of(std::uintptr_t value) noexcept { return value * 0x9e3779b97f4a7c15 >> 20; }

std::size_t hash_of(std::span<void* const> frames) noexcept {
  std::uintptr_t hash = frames.size();
  for (const void* frame : frames) hash = (hash ^ reinterpret_cast<std::uintptr_t>(frame)) * 0x9e3779b97f4a7c15;
  return hash >> 20;
}

}  // namespace

void* SampledBlocks::take_locked(std::size_t bytes) noexcept {
  bytes = (bytes + 15) & ~std::size_t{15};
  if (spare_bytes_ < bytes) {
    Descriptor* unit = page_runs.allocate(1, Kind::kOwn).first;
    if (unit == nullptr) return nullptr;
    spare_ = start_of(*unit);
    spare_bytes_ = kUnitBytes;
  }
  void* taken = spare_;
  spare_ += bytes;
  spare_bytes_ -= bytes;
  return taken;
}

void* SampledBlocks::take_memory(std::size_t bytes) noexcept {
  const std::scoped_lock guard(lock_);
  return take_locked(bytes);
}

Sample* SampledBlocks::make() noexcept {
  const std::scoped_lock guard(lock_);
  void* place = unused_;
  if (place != nullptr) {
    unused_ = unused_->next;
  } else {
    place = take_locked(sizeof(Sample));
  }
  return place == nullptr ? nullptr : ::new (place) Sample;
}

void SampledBlocks::drop(Sample& sample) noexcept {
  const std::scoped_lock guard(lock_);
  sample.next = unused_;
  unused_ = &sample;
}

Stack* SampledBlocks::intern(std::span<void* const> frames) noexcept {
  if (stack_count_ >= kMostStacks) frames = {};
  std::atomic<Stack*>& head = stacks_[hash_of(frames) % kStackBuckets];
  for (Stack* stack = head.load(std::memory_order_relaxed); stack != nullptr; stack = const_cast<Stack*>(stack->next)) {
    if (std::ranges::equal(stack->frames(), frames)) return stack;
  }
  void* place = take_locked(sizeof(Stack) + frames.size_bytes());
  if (place == nullptr) return nullptr;
  auto* stack = ::new (place) Stack;
  stack->depth = frames.size();
  std::ranges::copy(frames, reinterpret_cast<void**>(stack + 1));
  stack->next = head.load(std::memory_order_relaxed);
  head.store(stack, std::memory_order_release);
  ++stack_count_;
  return stack;
}

Sample** SampledBlocks::place_of(const void* block) noexcept {
  Sample** place = &buckets_[hash_of(reinterpret_cast<std::uintptr_t>(block)) % bucket_count_];
  while (*place != nullptr && (*place)->block != block) place = &(*place)->next;
  return place;
}

// For one more. The first table is a unit; each next one is four times as large.
bool SampledBlocks::make_room() noexcept {
  if (count_ < bucket_count_) return true;
  const std::size_t units = buckets_run_ == nullptr ? 1 : std::size_t{buckets_run_->units} * 4;
  const PageRuns::Run run = page_runs.allocate(units, Kind::kOwn);
  // A table that is too small still works.
  if (run.first == nullptr) return buckets_ != nullptr;
  Sample** const old = buckets_;
  const std::size_t old_count = bucket_count_;
  buckets_ = reinterpret_cast<Sample**>(start_of(*run.first));
  bucket_count_ = units * kUnitBytes / sizeof(Sample*);
  if (!run.zero) std::memset(static_cast<void*>(buckets_), 0, units * kUnitBytes);
  for (std::size_t i = 0; i < old_count; ++i) {
    for (Sample *sample = old[i], *next = nullptr; sample != nullptr; sample = next) {
      next = sample->next;
      Sample** place = place_of(sample->block);
      sample->next = nullptr;
      *place = sample;
    }
  }
  if (buckets_run_ != nullptr) page_runs.free(*buckets_run_);
  buckets_run_ = run.first;
  return true;
}

bool SampledBlocks::add(Sample& sample, std::span<void* const> stack) noexcept {
  const std::scoped_lock guard(lock_);
  Stack* by = intern(stack);
  if (by == nullptr || !make_room()) return false;
  Sample** place = place_of(sample.block);
  if (Sample* old = *place; old != &sample) {
    // What was known of another block at that address, which was freed.
    if (old != nullptr) {
      *place = old->next;
      old->next = unused_;
      unused_ = old;
      --count_;
      place = place_of(sample.block);
    }
    sample.next = nullptr;
    *place = &sample;
    ++count_;
  }
  sample.allocated_by = by;
  sample.freed_by = nullptr;
  sample.live = true;
  ++by->live_blocks;
  by->live_bytes += sample.bytes;
  ++by->all_blocks;
  by->all_bytes += sample.bytes;
  return true;
}

Sample* SampledBlocks::free(const void* block, std::span<void* const> stack) noexcept {
  const std::scoped_lock guard(lock_);
  Sample* sample = buckets_ == nullptr ? nullptr : *place_of(block);
  if (sample == nullptr || !sample->live) return nullptr;
  sample->live = false;
  if (!stack.empty()) sample->freed_by = intern(stack);
  sample->allocated_by->live_blocks -= 1;
  sample->allocated_by->live_bytes -= sample->bytes;
  return sample;
}

void SampledBlocks::remove(Sample& sample) noexcept {
  const std::scoped_lock guard(lock_);
  Sample** place = place_of(sample.block);
  if (*place == &sample) {
    *place = sample.next;
    --count_;
  }
}

bool SampledBlocks::look_up(const void* block, Sample& into) noexcept {
  // Asked on the way to the end of the process: whoever has the lock may be the caller.
  for (int round = 0; !lock_.try_lock(); ++round) {
    if (round == 1000) return false;
    sched_yield();
  }
  const Sample* sample = buckets_ == nullptr ? nullptr : *place_of(block);
  if (sample != nullptr) into = *sample;
  lock_.unlock();
  return sample != nullptr;
}

bool SampledBlocks::is_live(const void* block) noexcept {
  const std::scoped_lock guard(lock_);
  const Sample* sample = buckets_ == nullptr ? nullptr : *place_of(block);
  return sample != nullptr && sample->live;
}

}  // namespace weft::mem
