#include "sched/fiber_pool.h"

#include <algorithm>
#include <mutex>

#include "sched/current.h"
#include "sched/worker.h"

namespace weft::sched {

FiberPool::~FiberPool() {
  for (Slab* slab = slabs_.load(std::memory_order_relaxed); slab != nullptr;) delete std::exchange(slab, slab->next);
}

std::size_t FiberPool::take(std::span<FiberState*> into) {
  for (;;) {
    {
      const std::lock_guard guard(lock_);
      if (!free_.empty()) {
        const std::size_t count = std::min(into.size(), free_.size());
        std::copy(free_.end() - static_cast<std::ptrdiff_t>(count), free_.end(), into.begin());
        free_.resize(free_.size() - count);
        return count;
      }
    }
    make_slab();
  }
}

void FiberPool::make_slab() {
  auto slab = std::make_unique<Slab>();
  for (FiberState& fiber : slab->fibers) {
    fiber.pool = this;
    fiber.scheduler = scheduler_;
  }
  std::vector<FiberState*> larger;
  std::size_t room = 0;
  for (;;) {
    // Memory is got without the lock.
    if (room != 0) larger.reserve(room);
    const std::lock_guard guard(lock_);
    if (free_.capacity() < made_ + kSlabFibers) {
      room = 2 * (made_ + kSlabFibers);
      if (larger.capacity() < room) continue;
      larger.assign(free_.begin(), free_.end());
      free_.swap(larger);
    }
    made_ += kSlabFibers;
    slab->next = slabs_.load(std::memory_order_relaxed);
    for (auto fiber = slab->fibers.rbegin(); fiber != slab->fibers.rend(); ++fiber) free_.push_back(&*fiber);
    slabs_.store(slab.release(), std::memory_order_release);
    return;
  }
}

void FiberPool::give(std::span<FiberState* const> fibers) noexcept {
  bool over = false;
  {
    const std::lock_guard guard(lock_);
    free_.insert(free_.end(), fibers.begin(), fibers.end());
    over = closed_ && free_.size() == made_;
  }
  if (over) delete this;
}

void FiberPool::recycle(FiberState& fiber) noexcept {
  Worker* here = current_worker();
  if (here != nullptr && here->recycle(fiber)) return;
  FiberState* const one = &fiber;
  give({&one, 1});
}

void FiberPool::close() noexcept {
  bool over = false;
  {
    const std::lock_guard guard(lock_);
    closed_ = true;
    over = free_.size() == made_;
  }
  if (over) delete this;
}

}  // namespace weft::sched
