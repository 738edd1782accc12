// mem/local_heap.h - slabs of one owner: a thread, or a mem::Heap. Internal.
//
//   malloc: list_[class], else refill()          free: list_[class] if the block is of the active slab, else free_counted(),
//                                                      else, of another owner, free_remote()
//
// Per class there are a few active slabs, whose free blocks are the TLS list (descriptor.h), and a list of others that have free blocks.
// The more are active, the more frees are fast; the fewer, the less can wait in a list that nobody looks at (README.md, "Probes").
// refill() takes, in this order: the next page of the newest active slab; what others freed; a listed slab, the fullest
// of a few, whole; one of a heap without owner; a new one, in pages of idle lists of other sizes (reclaim()) before untouched ones.
// All steps but reclaim() and the search among four slabs are O(1), or linear in blocks of one page.
//
// A heap outlives its thread: it becomes ownerless as a whole, keeps its slabs, and is the next thread's. Meanwhile who frees
// into it processes it (help()), so its memory does not wait for that.
//   state_   kIdle -> kOwned -> kIdle (attach and abandon; each use of a mem::Heap);   kIdle -> kHeld -> kIdle (help, adopt)
// Invariants   L1  every slab of the heap is active, or listed (free blocks or pages not yet carved), or in the list of full ones
//              L2  blocks in list_[c] belong to active slabs of c, and only the newest of these has pages not yet carved
//              L3  a slab in queue_ has kQueued set, and one with kQueued set is in queue_ or about to be
//              L4  an active slab's free blocks are in the list, unless the purge thread has put them into the slab: then a flush is asked for
// Locks        turn_, which costs nothing: all but post(), help() and state_ is its owner's, and the purge thread's while the owner sleeps
// Tests: tests/mem/threads_test.cc, tests/mem/model_test.cc, tests/mem/heap_test.cc, tests/mem/local_heap_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "mem/biased_lock.h"
#include "mem/counter.h"
#include "mem/descriptor.h"
#include "mem/page_runs.h"
#include "mem/remote_free.h"
#include "mem/segment.h"
#include "mem/size_class.h"

namespace weft::mem {

// What a free block holds: the next one of its list.
inline void*& link_of(void* block) noexcept { return *static_cast<void**>(block); }

enum class HeapState : std::uint32_t { kIdle, kOwned, kHeld, kLost };

// Counted where it costs nothing: on slow paths, by the owner. Read by anybody, so a little behind.
struct HeapCounts {
  Counter refills;
  Counter slabs_made;
  Counter slabs_freed;
  Counter slabs_adopted;
  Counter posts;

  // Grows with each slow path of the owner.
  std::size_t sum() const noexcept { return refills + slabs_made + slabs_freed + slabs_adopted + posts; }
};

class HeapSamples;
struct Sample;

class alignas(256) LocalHeap {
 public:
  constexpr LocalHeap() noexcept = default;
  LocalHeap(const LocalHeap&) = delete;
  LocalHeap& operator=(const LocalHeap&) = delete;

  // The fast paths.
  void* pop(unsigned size_class) noexcept {
    void* block = list_[size_class];
    if (block != nullptr) [[likely]]
      list_[size_class] = link_of(block);
    return block;
  }
  void push(unsigned size_class, void* block) noexcept {
    link_of(block) = list_[size_class];
    list_[size_class] = block;
  }

  // The whole list, as a chain.
  void* take_list(unsigned size_class) noexcept { return std::exchange(list_[size_class], nullptr); }

  // A block, once pop() has none. nullptr: no memory.
  void* refill(unsigned size_class) noexcept;
  // A block of a slab of this heap that is not active.
  void free_counted(Descriptor& slab, void* block) noexcept {
    turn_.enter(BiasedLock::Use::kBlocks);
    link_of(block) = slab.slab.free;
    slab.slab.free = block;
    if (--slab.used == 0 || !slab.listed) [[unlikely]]
      counted_changed(slab);
    turn_.leave();
  }
  // A block of another heap's slab; goes there with others.
  void free_remote(Descriptor& slab, void* block) noexcept {
    turn_.enter(BiasedLock::Use::kBlocks);
    if (remote_batches_.add(slab, block)) [[unlikely]]
      ++counts_.posts;
    turn_.leave();
  }

  // A sampled block goes back to its place on top of the list. False: this heap has no samples.
  bool hold(Sample& slot, unsigned size_class) noexcept;

  // Takes in what others freed.
  void drain() noexcept;
  // Everything that only waits here goes where it belongs: batches, lists, empty slabs. O(classes + blocks in lists).
  void flush() noexcept;
  // As flush(), once for each time the soft limit is passed (limits.h).
  void relieve() noexcept {
    if (const std::size_t passes = page_runs.soft_passes(); passes != passes_seen_) [[unlikely]] {
      passes_seen_ = passes;
      flush();
    }
  }
  // Of who has freed small blocks: as flush(), once the process holds a sixth less than it did, and 8 MiB.
  void shrink_with_process() noexcept;
  // Of the purge thread, for an owner that sleeps: what it freed for others goes there, and what others freed goes where it belongs. The
  // owner's lists stay, because the fast paths look at nothing but them. False: the owner is awake after all.
  bool tend() noexcept;
  // The owner flushes when it next needs a list.
  void ask_to_flush() noexcept { flush_asked_.store(true, std::memory_order_relaxed); }
  bool is_asked_to_flush() const noexcept { return flush_asked_.load(std::memory_order_relaxed); }
  // Something waits in what others freed.
  bool has_queued() const noexcept { return queue_.load(std::memory_order_seq_cst) != nullptr; }

  // The owner goes: as flush(), and nobody owns it.
  void abandon() noexcept;

  bool try_own(HeapState as) noexcept {
    auto idle = HeapState::kIdle;
    return state_.compare_exchange_strong(idle, as, std::memory_order_seq_cst);
  }
  // Ends kHeld.
  void let_go() noexcept;
  // Of somebody who put a slab into queue_: drains the heap if nobody else will.
  void help() noexcept;
  // `last`: of the chain that waits there.
  void enqueue(Descriptor& slab, const void* last) noexcept;
  // One of its listed slabs of that class changes to `to`. The caller holds it. nullptr: none can.
  Descriptor* give(unsigned size_class, LocalHeap& to) noexcept;

  // At most so many bytes of slabs and large blocks; see mem::Heap.
  bool charge(std::size_t units) noexcept;
  void discharge(std::size_t units) noexcept { held_units_.fetch_sub(units, std::memory_order_relaxed); }
  void set_limit(std::size_t units) noexcept { beyond_limit_ = ~units; }
  std::size_t held_units() const noexcept { return held_units_.load(std::memory_order_relaxed); }

  HeapState state() const noexcept { return state_.load(std::memory_order_relaxed); }
  // In a child of fork(): the owner is not there any more. False: it was in the middle of something, and the heap is lost.
  bool inherit_after_fork() noexcept;

  const HeapCounts& counts() const noexcept { return counts_; }
  // Of a mem::Heap: locked by each use, without batches, not given to threads.
  bool is_private() const noexcept { return private_.load(std::memory_order_relaxed); }
  void make_private() noexcept { private_.store(true, std::memory_order_relaxed); }
  // Until it is owned. False: a fork() lost it.
  bool lock_private() noexcept;
  // A block of one of its slabs, by anybody.
  void free_private(Descriptor& slab, void* block) noexcept;
  // All its slabs go, whatever they hold. The caller owns it, and nobody uses its blocks.
  void destroy_slabs() noexcept;

  // For the checker, and numbers.
  // Free blocks in the list, and in and behind slots of samples. O(blocks).
  std::size_t waiting_blocks(unsigned size_class) const noexcept;
  const void* list(unsigned size_class) const noexcept { return list_[size_class]; }
  const Descriptor* active(unsigned size_class) const noexcept { return active_[size_class]; }
  const Descriptor* listed(unsigned size_class) const noexcept { return listed_[size_class]; }
  const Descriptor* full() const noexcept { return full_; }

 private:
  std::uintptr_t entry_for(unsigned size_class, std::uintptr_t mode) const noexcept {
    return reinterpret_cast<std::uintptr_t>(this) | size_class | mode;
  }
  void* refill_plain(unsigned size_class) noexcept;
  void* refill_sampled(unsigned size_class) noexcept;
  void* take_sampled(unsigned size_class) noexcept;
  void take_in(Descriptor& slab) noexcept;
  Descriptor* next_slab(unsigned size_class) noexcept;
  Descriptor* pick(unsigned size_class) noexcept;
  Descriptor* make_slab(unsigned size_class) noexcept;
  void activate(Descriptor& slab) noexcept;
  void deactivate(Descriptor& slab) noexcept;
  void unload(unsigned size_class) noexcept;
  template <typename Choose>
  void unload_where(const Choose& choose) noexcept;
  void give_back(unsigned size_class) noexcept;
  void reclaim() noexcept;
  void absorb(Descriptor& slab, void* chain, void* last, std::size_t count) noexcept;
  bool settle(Descriptor& slab, bool keep_one) noexcept;
  void counted_changed(Descriptor& slab) noexcept;
  void enlist(Descriptor& slab) noexcept;
  void unlist(Descriptor& slab) noexcept;
  void link(Descriptor& slab, Descriptor*& head) noexcept;
  void unlink(Descriptor& slab, Descriptor*& head) noexcept;
  void free_slab(Descriptor& slab) noexcept;

  std::array<void*, kClasses> list_{};
  std::array<Descriptor*, kClasses> active_{};  // the newest; in a ring
  std::array<Descriptor*, kClasses> listed_{};
  Descriptor* full_ = nullptr;
  std::array<std::uint32_t, kClasses> since_probe_{};  // units
  static constexpr unsigned kLeastReclaimed = class_of(128) + 1;
  static constexpr unsigned kReclaimed = class_of(2048) + 1 - kLeastReclaimed;
  static_assert(slab_units(kLeastReclaimed + kReclaimed - 1) == 1);
  std::array<void*, kReclaimed> seen_{};  // the lists when reclaim() came by
  unsigned hand_ = 0;                     // where it comes by next
  std::size_t freed_units_ = 0;           // of slabs, since the last flush()
  std::size_t live_seen_ = 0;  // the most units that the process held, as far as this heap has seen since then
  bool shrinking_ = false;     // it frees and asks for nothing: no empty slab is kept
  RemoteBatches remote_batches_;
  HeapSamples* samples_ = nullptr;  // once sampling is on

 public:
  // Of who keeps heaps (heap_registry.h, heap.h).
  LocalHeap* next_of_all = nullptr;
  LocalHeap* next_idle = nullptr;
  Descriptor* large_blocks = nullptr;
  // Of the purge thread: how much had happened when it last came by, and whether it has tended the heap since.
  std::size_t activity_seen = 0;
  bool tended = false;

 private:
  std::size_t beyond_limit_ = 0;      // ~limit: what is all zero takes no pages of the file
  std::atomic<bool> private_{false};  // whoever frees reads it

  // Written by the owner all the time, and so apart from what others read.
  // In the middle of a change (kSlabs): what a fork() finds then is not used by the child.
  alignas(64) BiasedLock turn_;
  std::atomic<bool> flush_asked_{false};
  std::size_t passes_seen_ = 0;
  HeapCounts counts_;

  // Written by others.
  alignas(64) std::atomic<Descriptor*> queue_{nullptr};
  std::atomic<HeapState> state_{HeapState::kIdle};
  std::atomic<std::size_t> held_units_{0};

  friend class Changing;
};

// The heap is in the middle of a change: a visitor waits, and a fork() of another thread loses it.
class Changing {
 public:
  explicit Changing(LocalHeap& heap) noexcept : guard_(heap.turn_, BiasedLock::Use::kSlabs) {}

 private:
  BiasedLock::Guard guard_;
};

}  // namespace weft::mem
