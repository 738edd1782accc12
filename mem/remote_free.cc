// mem/remote_free.cc - see remote_free.h.
#include "mem/remote_free.h"

#include "mem/local_heap.h"

namespace weft::mem::remote {

void post(Descriptor& slab, void* first, void* last, std::size_t count) noexcept {
  std::atomic<std::uint64_t>& word = slab.slab.remote;
  std::uint64_t old = word.load(std::memory_order_relaxed);
  std::uint64_t wanted = 0;
  do {
    link_of(last) = chain_of(old);
    const std::uint64_t marks = (old & kMoving) != 0 ? old & (kMoving | kQueued) : kQueued;
    wanted = reinterpret_cast<std::uint64_t>(first) | marks |
             static_cast<std::uint64_t>(count_of(old) + count) << kCountShift;
  } while (!word.compare_exchange_weak(old, wanted, std::memory_order_acq_rel, std::memory_order_relaxed));
  // It cannot change owners now, so this is the one. Later chains go before this one.
  if ((old & (kQueued | kMoving)) == 0) owner_of(slab)->enqueue(slab, last);
}

}  // namespace weft::mem::remote
