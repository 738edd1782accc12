#include "sched/timers.h"

#include <array>
#include <mutex>

namespace weft::sched {

void Timers::place(std::size_t index, TimerNode* node) noexcept {
  heap_[index] = node;
  node->index = static_cast<std::uint32_t>(index);
}

void Timers::sift_up(std::size_t index) noexcept {
  TimerNode* node = heap_[index];
  while (index > 0) {
    const std::size_t parent = (index - 1) / 2;
    if (!before(node, heap_[parent])) break;
    place(index, heap_[parent]);
    index = parent;
  }
  place(index, node);
}

void Timers::sift_down(std::size_t index) noexcept {
  TimerNode* node = heap_[index];
  for (;;) {
    std::size_t child = 2 * index + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && before(heap_[child + 1], heap_[child])) ++child;
    if (!before(heap_[child], node)) break;
    place(index, heap_[child]);
    index = child;
  }
  place(index, node);
}

void Timers::remove_at(std::size_t index) noexcept {
  heap_[index]->index = TimerNode::kNone;
  TimerNode* last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  place(index, last);
  sift_up(index);
  sift_down(last->index);
}

void Timers::publish() noexcept {
  earliest_.store(heap_.empty() ? kNothing : heap_.front()->at_ns, std::memory_order_release);
}

void Timers::arm(TimerNode& node, std::int64_t at_ns, Waiter& waiter) {
  const std::lock_guard guard(lock_);
  node.at_ns = at_ns;
  node.order = armed_++;
  node.waiter = &waiter;
  heap_.push_back(&node);
  sift_up(heap_.size() - 1);
  publish();
}

void Timers::disarm(TimerNode& node) noexcept {
  const std::lock_guard guard(lock_);
  if (node.index == TimerNode::kNone) return;
  remove_at(node.index);
  publish();
}

std::size_t Timers::fire(std::int64_t now_ns) noexcept {
  std::size_t fired = 0;
  std::array<Waiter*, 32> due;
  for (;;) {
    std::size_t count = 0;
    {
      const std::lock_guard guard(lock_);
      while (count < due.size() && !heap_.empty() && heap_.front()->at_ns <= now_ns) {
        Waiter* waiter = heap_.front()->waiter;
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
