// sched/worker_spawn.cc - a worker's fibers that have not begun: their memory, where they wait, and who takes them. See fiber.h, F4.
#include <algorithm>
#include <span>
#include <utility>

#include "sched/scheduler.h"
#include "sched/worker.h"

namespace weft::sched {

[[gnu::always_inline]] inline FiberState* Worker::take_free_fiber() {
  const auto fetch = [this](std::size_t at) {
    const auto* lines = reinterpret_cast<const char*>(free_fibers_[at]);
    for (std::size_t line = 0; line < 3; ++line) __builtin_prefetch(lines + 64 * line, 1);
  };
  if (free_count_ == 0) [[unlikely]] {
    free_count_ = pool_->take(std::span(free_fibers_).first(kFiberBatch));
    for (std::size_t next = 1; next <= std::min(free_count_, kFetchAhead); ++next) fetch(free_count_ - next);
  }
  FiberState* fiber = free_fibers_[--free_count_];
  if (free_count_ >= kFetchAhead) fetch(free_count_ - kFetchAhead);  // while this one is made
  if (next_id_ == last_id_) [[unlikely]] {
    next_id_ = scheduler_.next_id_.fetch_add(kIdBatch, std::memory_order_relaxed);
    last_id_ = next_id_ + kIdBatch;
  }
  fiber->id = next_id_++;
  return fiber;
}

FiberState* Worker::new_fiber() { return take_free_fiber(); }

[[gnu::always_inline]] inline void Worker::hint_at(FiberState* fiber) noexcept {
  bump(spawned_);
  const FiberState* by = current();
  fiber->spawned_by.store(by != nullptr ? by->id : 0, std::memory_order_relaxed);
  if (Observer* seen_by = observer()) [[unlikely]]
    seen_by->becomes_ready(*fiber, TraceKind::kSpawn, by, scheduler_.now_ns());
  if (order_ != nullptr || fiber->classed || fiber->pinned.load(std::memory_order_relaxed) != nullptr) {
    push_woken(fiber);
    return;
  }
  fiber->claimable.store(true, std::memory_order_release);
  FiberState* older = newest_.load(std::memory_order_relaxed);
  newest_.store(fiber, std::memory_order_release);
  if (older != nullptr && older->claimable.load(std::memory_order_relaxed)) fresh_.push(older);
  scheduler_.notify_of_spawned();
}

void Worker::push_spawned(FiberState* fiber) noexcept { hint_at(fiber); }

FiberState* Worker::spawn(std::string_view name, Body&& body) {
  const FiberState* by = current();
  if (by != nullptr && by->classed) [[unlikely]]
    return scheduler_.spawn(name, std::move(body));
  FiberState* fiber = take_free_fiber();
  fiber->begin(name, std::move(body));
  hint_at(fiber);
  return fiber;
}

FiberState* Worker::take_fresh() noexcept {
  // Those that were joined before they began.
  fresh_.drop_oldest(kInlineInARow,
                     [](const FiberState& hint) { return !hint.claimable.load(std::memory_order_relaxed); });
  while (!fresh_.empty()) {
    FiberState* fiber = fresh_.steal();
    if (fiber != nullptr && fiber->claim()) return fiber;
  }
  FiberState* fiber = newest_.load(std::memory_order_relaxed);
  if (fiber == nullptr) return nullptr;
  newest_.store(nullptr, std::memory_order_relaxed);
  return fiber->claim() ? fiber : nullptr;
}

// The half that was not used for longer.
void Worker::give_back_fibers() noexcept {
  const auto oldest = std::span(free_fibers_).first<2 * kFiberBatch>();
  pool_->give(oldest);
  std::copy(free_fibers_.begin() + oldest.size(), free_fibers_.end(), free_fibers_.begin());
  free_count_ -= oldest.size();
}

}  // namespace weft::sched
