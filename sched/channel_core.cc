#include "sched/channel_core.h"

#include <mutex>

#include "sched/current.h"

namespace weft::sched {

Outcome ChannelCore::wait(ChannelQueue& queue, void* place, const char* reason, Deadline deadline) noexcept {
  Waiter waiter;
  ChannelWait wait{.waiter = &waiter, .place = place};
  queue.push_back(wait);
  lock_.unlock();
  const Outcome outcome = waiter.park(reason, deadline, true, this);
  if (outcome == Outcome::kTimedOut || outcome == Outcome::kCancelled) {
    const std::lock_guard guard(lock_);
    queue.remove(wait);
  }
  return outcome;
}

void ChannelCore::close() noexcept {
  simulation_point();
  ChannelQueue claimed;
  {
    const std::lock_guard guard(lock_);
    if (closed_) return;
    closed_ = true;
    for (ChannelQueue* queue : {&receivers_, &senders_})
      while (ChannelWait* wait = queue->claim_first(Outcome::kNotified)) claimed.push_back(*wait);
  }
  while (ChannelWait* wait = claimed.front()) {
    claimed.remove(*wait);
    wait->waiter->resume();
  }
}

bool ChannelCore::closed() const noexcept {
  const std::lock_guard guard(lock_);
  return closed_;
}

std::size_t ChannelCore::size() const noexcept {
  const std::lock_guard guard(lock_);
  return size_;
}

}  // namespace weft::sched
