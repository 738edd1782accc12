// mem/sampling.h - which allocations are sampled, without an instruction on the fast paths. Internal.
//
//   refill() -> [cut the list] ... the list runs out at the cut -> [take the slot: a sample] ... its block is freed -> [slot is back in the list]
//
// What is drawn (poisson.h) is a place in a thread's list, a *slot*. The list that refill() hands out ends before it; what follows waits
// with the slot in `held` until the list has run out. So the slow path comes exactly when a sample is due, and its block is not
// one of the list's, but of a heap apart (`sampled heap`), whose map entries make every free of it take the slow path as well.
// Freed by the thread that took it, the slot goes back to where it would lie as a block, on top of the list, and whoever is
// next to be given it is sampled. (Were a slot one sample only, a program that allocates something for good and then something for a
// moment, over and over, would be sampled at the latter alone: places in a last-in-first-out list do not go round.) So what
// is live is sampled without favour, by place and not by time. A slot is given up after kMostUses, so that a loop that is caught on
// it is slow for a millisecond and no longer; places of a list that is flushed are drawn anew.
//
// Large blocks are drawn one by one, and so are all in hardened mode, which looks up each block that is freed and keeps what it
// knows of it until there is another at its address. Blocks of a mem::Heap are not sampled.
// Locks    sampled_blocks, then PageRuns; the sampled heap's. No stack is traced with a lock held.
// Tests: tests/mem/sampling_test.cc, tests/mem/profile_test.cc.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "mem/descriptor.h"
#include "mem/poisson.h"
#include "mem/size_class.h"

namespace weft::mem {

struct Sample;

// Of one thread's heap.
class HeapSamples {
 public:
  explicit HeapSamples(std::uint64_t seed) noexcept;

  // Ends `list` where the next slot was drawn, if that is within it; what follows is held, and cut when its turn comes.
  void cut(unsigned size_class, void*& list) noexcept;
  // The topmost slot; the list, which has run out, is what waited behind it, not cut yet if the slot is new. nullptr: none is held.
  Sample* take(unsigned size_class, void*& list) noexcept;
  // The same, and what waited behind it stays with the slot.
  Sample* pop(unsigned size_class) noexcept;
  // The opposite of take().
  void put_back(unsigned size_class, Sample& slot, void*& list) noexcept;
  const Sample* held(unsigned size_class) const noexcept { return held_[size_class]; }

 private:
  std::uint64_t draw(unsigned size_class) noexcept;

  SampleRandom random_;
  std::array<std::uint64_t, kClasses> until_;  // blocks before the next slot
  std::array<Sample*, kClasses> held_{};
};

namespace sampling {

extern constinit std::atomic<std::size_t> mean;  // bytes; 0: off, 1: every block

inline bool on() noexcept { return mean.load(std::memory_order_relaxed) != 0; }

// For good: one byte of `mean_bytes` (> 0) is sampled from now on. Not within an allocation. False: no memory, or no unwinder.
bool start(std::size_t mean_bytes) noexcept;

// nullptr: no memory.
HeapSamples* make_heap_samples() noexcept;
// A block of that class for a slot that was taken; the stack is the caller's. nullptr: no memory, and the slot is gone.
void* allocate(Sample& slot, unsigned size_class, LocalHeap& owner) noexcept;
// Its block, if it has one, is nobody's any more.
void give_up(Sample& slot) noexcept;

// The heap of sampled blocks. nullptr: there are none.
const LocalHeap* heap() noexcept;
// Its free blocks that wait in a list, and how to have them go back.
std::size_t waiting_blocks(unsigned size_class) noexcept;
void flush() noexcept;
// A block of that heap is freed.
void release(Descriptor& slab, void* block) noexcept;

// A large block is there, or is about to go or change. Whether it is sampled stands in its run.
void large_allocated(Descriptor& run) noexcept;
void large_goes(Descriptor& run) noexcept;

// In hardened mode. The second keeps what it knows, and where the free was.
void hardened_allocated(void* block, std::size_t size) noexcept;
void hardened_goes(const void* block) noexcept;

// Numbers since start.
std::size_t count() noexcept;

void before_fork() noexcept;
void after_fork() noexcept;

}  // namespace sampling
}  // namespace weft::mem
