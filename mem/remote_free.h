// mem/remote_free.h - blocks on their way to a slab of another owner. Internal.
//
//   free of another's block -> RemoteBatches (of the freeing heap) -> Descriptor::remote -> queue of the owner -> drain()
//
// Blocks of one slab are chained up by who frees them and posted with one compare-and-swap (as snmalloc's BatchIt does); the chain
// that waits at a slab carries its length, so the owner learns how many came without walking it. Who posts to a slab at which nothing
// waited puts the slab into its owner's queue, too: a second compare-and-swap, once per drain. A batch is at most 64 blocks and about
// 8 KiB, and a heap has 16, so little is ever on the way; flush() empties them.
//
// The word: bits 3..47 first block | bits 48..63 number of blocks | kQueued | kMoving. A slab is not freed and not given to another
// owner while kQueued is set: somebody may still be about to put it into the queue. kMoving is set while it changes owners: who posts
// then leaves the queueing to the new one.
// Tests: tests/mem/threads_test.cc.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "mem/descriptor.h"
#include "mem/size_class.h"

namespace weft::mem {

namespace remote {
inline constexpr std::uint64_t kQueued = 1;
inline constexpr std::uint64_t kMoving = 2;
inline constexpr std::uint64_t kBlockMask = (std::uint64_t{1} << 48) - 8;
inline constexpr unsigned kCountShift = 48;

inline void* chain_of(std::uint64_t word) noexcept { return reinterpret_cast<void*>(word & kBlockMask); }
inline std::size_t count_of(std::uint64_t word) noexcept { return word >> kCountShift; }

// `count` blocks from `first` to `last`, linked. Any thread.
void post(Descriptor& slab, void* first, void* last, std::size_t count) noexcept;
}  // namespace remote

class RemoteBatches {
 public:
  // True: something was posted.
  bool add(Descriptor& slab, void* block) noexcept {
    Batch& batch = batches_[(reinterpret_cast<std::uintptr_t>(&slab) / sizeof(Descriptor)) % kBatches];
    if (batch.slab != &slab) {
      const bool posted = post(batch);
      *static_cast<void**>(block) = nullptr;
      batch = {.slab = &slab, .first = block, .last = block, .count = 1};
      return full(batch) ? post(batch) : posted;
    }
    *static_cast<void**>(block) = batch.first;
    batch.first = block;
    ++batch.count;
    return full(batch) && post(batch);
  }
  void flush() noexcept {
    for (Batch& batch : batches_) post(batch);
  }
  // Without posting: for a child of fork(), which cannot know whether they are whole.
  void forget() noexcept { batches_ = {}; }

  template <typename Visit>
  void each(const Visit& visit) const noexcept {
    for (const Batch& batch : batches_) {
      if (batch.slab != nullptr) visit(*batch.slab, batch.count);
    }
  }

 private:
  static constexpr std::size_t kBatches = 16;
  struct Batch {
    Descriptor* slab = nullptr;
    void* first = nullptr;
    void* last = nullptr;
    std::size_t count = 0;
  };

  static bool full(const Batch& batch) noexcept {
    constexpr std::size_t kBytes = 8192;
    return batch.count >= 64 || batch.count * kClassBytes[batch.slab->size_class] >= kBytes;
  }
  static bool post(Batch& batch) noexcept {
    if (batch.slab == nullptr) return false;
    remote::post(*batch.slab, batch.first, batch.last, batch.count);
    batch.slab = nullptr;
    return true;
  }

  std::array<Batch, kBatches> batches_{};
};

}  // namespace weft::mem
