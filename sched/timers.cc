#include "sched/timers.h"

#include <algorithm>
#include <array>
#include <mutex>

namespace weft::sched {

void Timers::place_fresh(std::size_t index, const Entry& entry) noexcept {
  fresh_[index] = entry;
  entry.node->index = static_cast<std::uint32_t>(index) | kIsFresh;
}

void Timers::remove_fresh(std::size_t index) noexcept {
  fresh_[index].node->index = TimerNode::kNone;
  if (index != --fresh_count_) place_fresh(index, fresh_[fresh_count_]);
}

void Timers::sort_in_fresh(std::int64_t up_to_ns) noexcept {
  for (std::size_t index = fresh_count_; index-- > 0;) {
    const Entry entry = fresh_[index];
    if (entry.at_ns > up_to_ns) continue;
    remove_fresh(index);
    heap_.push_back(entry);
    sift_up(heap_.size() - 1, entry);
  }
}

void Timers::place(std::size_t index, const Entry& entry) noexcept {
  heap_[index] = entry;
  entry.node->index = static_cast<std::uint32_t>(index);
}

// `entry` belongs at `index` or above it; what is there now is overwritten.
void Timers::sift_up(std::size_t index, const Entry& entry) noexcept {
  while (index > 0) {
    const std::size_t parent = (index - 1) / kChildren;
    if (!before(entry, heap_[parent])) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, entry);
}

void Timers::sift_down(std::size_t index, const Entry& entry) noexcept {
  for (;;) {
    const std::size_t first = kChildren * index + 1;
    if (first >= heap_.size()) break;
    std::size_t least = first;
    const std::size_t end = std::min(first + kChildren, heap_.size());
    for (std::size_t child = first + 1; child < end; ++child)
      if (before(heap_[child], heap_[least])) least = child;
    if (!before(heap_[least], entry)) break;
    place(index, heap_[least]);
    index = least;
  }
  place(index, entry);
}

void Timers::remove_at(std::size_t index) noexcept {
  heap_[index].node->index = TimerNode::kNone;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  if (index > 0 && before(last, heap_[(index - 1) / kChildren])) {
    sift_up(index, last);
  } else {
    sift_down(index, last);
  }
}

std::int64_t Timers::publish() noexcept {
  std::int64_t at_ns = heap_.empty() ? kNothing : heap_.front().at_ns;
  for (std::size_t i = 0; i < fresh_count_; ++i) at_ns = std::min(at_ns, fresh_[i].at_ns);
  if (at_ns != not_before()) not_before_.store(at_ns, std::memory_order_release);
  return at_ns;
}

void Timers::arm(TimerNode& node, std::int64_t at_ns, Waiter& waiter) {
  const std::lock_guard guard(lock_);
  if (fresh_count_ == kMostFresh) [[unlikely]]
    sort_in_fresh(kNothing);
  node.waiter = &waiter;
  place_fresh(fresh_count_++, {at_ns, armed_++, &node});
  if (at_ns < not_before_.load(std::memory_order_relaxed)) not_before_.store(at_ns, std::memory_order_release);
}

void Timers::disarm(TimerNode& node) noexcept {
  const std::lock_guard guard(lock_);
  const std::uint32_t index = node.index;
  if (index == TimerNode::kNone) return;
  if ((index & kIsFresh) != 0) {
    remove_fresh(index & ~kIsFresh);
  } else {
    remove_at(index);
  }
}

std::int64_t Timers::earliest() noexcept {
  if (not_before() == kNothing) return kNothing;
  const std::lock_guard guard(lock_);
  return publish();
}

std::size_t Timers::fire(std::int64_t now_ns) noexcept {
  if (not_before() > now_ns) return 0;
  std::size_t fired = 0;
  std::array<Waiter*, 32> due;
  for (;;) {
    std::size_t count = 0;
    {
      const std::lock_guard guard(lock_);
      sort_in_fresh(now_ns);
      while (count < due.size() && !heap_.empty() && heap_.front().at_ns <= now_ns) {
        Waiter* waiter = heap_.front().node->waiter;
        remove_at(0);
        // A waiter that somebody else has claimed may go away as soon as the lock is free.
        if (waiter->claim(Outcome::kTimedOut)) due[count++] = waiter;
      }
      publish();
    }
    for (std::size_t i = 0; i < count; ++i) due[i]->resume();
    fired += count;
    if (count < due.size()) return fired;
  }
}

}  // namespace weft::sched
