#include "sched/group_state.h"

#include <algorithm>
#include <cstring>
#include <mutex>

#include "kernel/check.h"
#include "sched/fiber.h"

namespace weft::sched {

void LanedQueue::push(FiberState* fiber, int lane, std::uint64_t order) {
  const auto own = static_cast<std::size_t>(lane);
  if (lane != kAnyWorker && own >= own_.size()) own_.resize(own + 1);
  Lane& into = lane == kAnyWorker ? any_ : own_[own];
  fiber->ready_order = order;
  fiber->queue_next = nullptr;
  (into.tail != nullptr ? into.tail->queue_next : into.head) = fiber;
  into.tail = fiber;
  ++into.count;
  ++count_;
}

FiberState* LanedQueue::pop(unsigned worker) noexcept {
  Lane* from = &any_;
  if (worker < own_.size() && own_[worker].head != nullptr &&
      (any_.head == nullptr || own_[worker].head->ready_order < any_.head->ready_order))
    from = &own_[worker];
  FiberState* fiber = from->head;
  if (fiber == nullptr) return nullptr;
  from->head = fiber->queue_next;
  if (from->head == nullptr) from->tail = nullptr;
  --from->count;
  --count_;
  return fiber;
}

std::uint64_t LanedQueue::first_order(unsigned worker) const noexcept {
  std::uint64_t first = ~0ULL;
  if (any_.head != nullptr) first = any_.head->ready_order;
  if (worker < own_.size() && own_[worker].head != nullptr) first = std::min(first, own_[worker].head->ready_order);
  return first;
}

GroupState::GroupState(std::string_view group_name, unsigned group_shares) noexcept
    : shares(std::clamp(group_shares, 1U, kMostShares)) {
  std::memcpy(name, group_name.data(), std::min(group_name.size(), sizeof name - 1));
}

void GroupState::join(std::uint64_t runtime) noexcept {
  const std::lock_guard guard(join_lock);
  WEFT_CHECK(members == 0 || owner == runtime);  // a group is of one runtime at a time (scheduling.h)
  if (owner != runtime) {
    owner = runtime;
    virtual_ns = 0;  // of another clock
  }
  ++members;
}

void GroupState::leave() noexcept {
  const std::lock_guard guard(join_lock);
  --members;
}

}  // namespace weft::sched
