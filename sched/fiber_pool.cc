#include "sched/fiber_pool.h"

#include <algorithm>
#include <mutex>

#include "sched/current.h"
#include "sched/worker.h"

namespace weft::sched {

FiberChain FiberChain::cut(std::size_t wanted) noexcept {
  if (wanted >= count) return std::exchange(*this, FiberChain{});
  FiberChain part{first, wanted};
  FiberState* last = first;
  for (std::size_t i = 1; i < wanted; ++i) last = last->queue_next;
  first = std::exchange(last->queue_next, nullptr);
  count -= wanted;
  return part;
}

FiberPool::~FiberPool() {
  for (Slab* slab = slabs_.load(std::memory_order_relaxed); slab != nullptr;) delete std::exchange(slab, slab->next);
}

FiberChain FiberPool::take(std::size_t wanted) {
  {
    const std::lock_guard guard(lock_);
    if (free_.count != 0) {
      FiberChain chain = free_.cut(wanted);
      out_ += chain.count;
      return chain;
    }
  }
  auto slab = std::make_unique<Slab>();
  FiberChain made;
  for (auto fiber = slab->fibers.rbegin(); fiber != slab->fibers.rend(); ++fiber) {
    fiber->pool = this;
    made.push(*fiber);
  }
  FiberChain chain = made.cut(std::max<std::size_t>(1, wanted));
  const std::lock_guard guard(lock_);
  slab->next = slabs_.load(std::memory_order_relaxed);
  slabs_.store(slab.release(), std::memory_order_release);
  while (FiberState* fiber = made.pop()) free_.push(*fiber);
  out_ += chain.count;
  return chain;
}

void FiberPool::give(FiberChain chain) noexcept {
  if (chain.count == 0) return;
  FiberState* last = chain.first;
  while (last->queue_next != nullptr) last = last->queue_next;
  bool over = false;
  {
    const std::lock_guard guard(lock_);
    last->queue_next = free_.first;
    free_.first = chain.first;
    free_.count += chain.count;
    out_ -= chain.count;
    over = closed_ && out_ == 0;
  }
  if (over) delete this;
}

void FiberPool::recycle(FiberState& fiber) noexcept {
  Worker* here = current_worker();
  if (here != nullptr && here->recycle(fiber)) return;
  fiber.queue_next = nullptr;
  give({&fiber, 1});
}

void FiberPool::close() noexcept {
  bool over = false;
  {
    const std::lock_guard guard(lock_);
    closed_ = true;
    over = out_ == 0;
  }
  if (over) delete this;
}

}  // namespace weft::sched
