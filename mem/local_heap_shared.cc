// mem/local_heap_shared.cc - what others do with a heap, and it for them: blocks that come back from other threads, the purge thread, owners
// that go and come, forks. See local_heap.h.
#include <sched.h>

#include "mem/heap_registry.h"
#include "mem/local_heap.h"
#include "mem/purge_thread.h"

namespace weft::mem {

namespace {

// The chain that waits at a slab goes, and so do its marks.
std::uint64_t take_remote(Descriptor& slab) noexcept { return slab.slab.remote.exchange(0, std::memory_order_acq_rel); }

void* last_of(void* chain) noexcept {
  while (link_of(chain) != nullptr) chain = link_of(chain);
  return chain;
}

}  // namespace

// `count` blocks of it, linked from `first` to `last`.
void LocalHeap::absorb(Descriptor& slab, void* first, void* last, std::size_t count) noexcept {
  void*& free = slab.active ? list_[slab.size_class] : slab.slab.free;
  if (free != nullptr) link_of(last) = free;
  free = first;
  if (slab.active) return;
  slab.used = static_cast<std::uint16_t>(slab.used - count);
  settle(slab, state() == HeapState::kOwned);
}

void LocalHeap::drain() noexcept {
  const Changing changing(*this);
  Descriptor* slab = queue_.exchange(nullptr, std::memory_order_seq_cst);
  while (slab != nullptr) {
    // Once the mark is gone others may queue it anew.
    const remote::QueueLink queued = slab->slab.queued;
    const std::uint64_t word = take_remote(*slab);
    absorb(*slab, remote::chain_of(word), start_of(*slab) + queued.last * kClassBytes[slab->size_class],
           remote::count_of(word));
    slab = reinterpret_cast<Descriptor*>(queued.next);
  }
}

// A slab of the queue. Of an active one the blocks go into the slab, not into the list; if they are all of its blocks, the list has none,
// and nobody else has: so it can go.
void LocalHeap::take_in(Descriptor& slab) noexcept {
  void* last = start_of(slab) + slab.slab.queued.last * kClassBytes[slab.size_class];
  const std::uint64_t word = take_remote(slab);
  link_of(last) = slab.slab.free;
  slab.slab.free = remote::chain_of(word);
  slab.used = static_cast<std::uint16_t>(slab.used - remote::count_of(word));
  if (slab.active && slab.used > 0) return ask_to_flush();
  if (slab.active) deactivate(slab);
  settle(slab, false);
}

bool LocalHeap::tend() noexcept {
  // So long as an owner that wakes up can wait.
  constexpr int kAtATime = 64;
  int visits = 64;
  do {
    if (!turn_.try_visit()) return false;
    remote_batches_.flush();
    for (int left = kAtATime; left > 0 && has_queued(); --left) {
      // Nobody else takes from the queue meanwhile.
      Descriptor* slab = queue_.load(std::memory_order_acquire);
      auto* next = reinterpret_cast<Descriptor*>(slab->slab.queued.next);
      if (queue_.compare_exchange_strong(slab, next, std::memory_order_seq_cst)) take_in(*slab);
    }
    turn_.end_visit();
  } while (has_queued() && --visits > 0);
  return true;
}

void LocalHeap::abandon() noexcept {
  flush();
  let_go();
}

void LocalHeap::let_go() noexcept {
  state_.store(HeapState::kIdle, std::memory_order_seq_cst);
  if (queue_.load(std::memory_order_seq_cst) != nullptr) help();
}

void LocalHeap::help() noexcept {
  while (queue_.load(std::memory_order_seq_cst) != nullptr && try_own(HeapState::kHeld)) {
    drain();
    state_.store(HeapState::kIdle, std::memory_order_seq_cst);
  }
}

void LocalHeap::enqueue(Descriptor& slab, const void* last) noexcept {
  const auto offset = static_cast<std::size_t>(static_cast<const std::byte*>(last) - start_of(slab));
  slab.slab.queued.last = offset / kClassBytes[slab.size_class];
  Descriptor* head = queue_.load(std::memory_order_relaxed);
  do {
    slab.slab.queued.next = reinterpret_cast<std::uintptr_t>(head);
  } while (!queue_.compare_exchange_weak(head, &slab, std::memory_order_seq_cst, std::memory_order_relaxed));
  if (state_.load(std::memory_order_seq_cst) == HeapState::kIdle) help();
  purge_thread::wake();
}

Descriptor* LocalHeap::give(unsigned size_class, LocalHeap& to) noexcept {
  const Changing changing(*this);
  for (Descriptor* slab = listed_[size_class]; slab != nullptr; slab = slab->next) {
    std::uint64_t nothing = 0;
    if (!slab->slab.remote.compare_exchange_strong(nothing, remote::kMoving, std::memory_order_acq_rel)) continue;
    unlist(*slab);
    discharge(slab->units);
    to.held_units_.fetch_add(slab->units, std::memory_order_relaxed);
    set_entries(*slab, to.entry_for(size_class, kCounted));
    const std::uint64_t word = take_remote(*slab);
    // Posts after this find the new owner.
    to.link(*slab, to.full_);
    if (void* first = remote::chain_of(word); first != nullptr) {
      to.absorb(*slab, first, last_of(first), remote::count_of(word));
    } else {
      to.settle(*slab, true);
    }
    return slab;
  }
  return nullptr;
}

bool LocalHeap::lock_private() noexcept {
  for (int round = 0; !try_own(HeapState::kOwned); ++round) {
    if (state() == HeapState::kLost) return false;
    if (round < 64) {
      cpu_relax();
    } else {
      sched_yield();
    }
  }
  return true;
}

void LocalHeap::free_private(Descriptor& slab, void* block) noexcept {
  if (!lock_private()) return;
  if (slab.active) {
    push(slab.size_class, block);
  } else {
    free_counted(slab, block);
  }
  let_go();
}

void LocalHeap::destroy_slabs() noexcept {
  const Changing changing(*this);
  for (unsigned c = 0; c < kClasses; ++c) {
    list_[c] = nullptr;
    while (active_[c] != nullptr) deactivate(*active_[c]);
    while (listed_[c] != nullptr) free_slab(*listed_[c]);
  }
  while (full_ != nullptr) {
    Descriptor& slab = *full_;
    unlink(slab, full_);
    enlist(slab);
    free_slab(slab);
  }
}

bool LocalHeap::inherit_after_fork() noexcept {
  if (state_.load(std::memory_order_relaxed) == HeapState::kIdle) return true;
  if (turn_.use() == BiasedLock::Use::kSlabs) {
    state_.store(HeapState::kLost, std::memory_order_relaxed);
    return false;
  }
  turn_.forget();
  remote_batches_.forget();
  if (is_private()) {
    state_.store(HeapState::kIdle, std::memory_order_relaxed);
    return true;
  }
  state_.store(HeapState::kHeld, std::memory_order_relaxed);
  return true;
}

}  // namespace weft::mem
