#include "sched/select.h"

#include <algorithm>
#include <functional>
#include <mutex>
#include <vector>

#include "sched/budget.h"
#include "sched/current.h"
#include "sched/simulated_order.h"
#include "sched/worker.h"

namespace weft::sched {

bool SelectCase::looks_ready() const noexcept {
  if (channel_.closed_) return true;
  // Whoever is in the queue may have been claimed for something else: then the attempt clears it away.
  return sends_ ? channel_.size_ < channel_.capacity_ || !channel_.receivers_.empty()
                : channel_.size_ != 0 || (channel_.capacity_ == 0 && !channel_.senders_.empty());
}

// One call of select.
class Selection {
 public:
  explicit Selection(std::span<SelectCase* const> cases) : cases_(cases) {
    if (cases.size() > few_.size()) many_.resize(cases.size());
    ChannelCore** first = cases.size() > few_.size() ? many_.data() : few_.data();
    std::transform(cases.begin(), cases.end(), first, [](SelectCase* one) { return &one->channel_; });
    std::sort(first, first + cases.size(), std::less<>());
    channels_ = {first, std::unique(first, first + cases.size())};
  }

  Result<std::size_t> run(Deadline deadline, bool may_wait) {
    simulation_point();
    if (may_wait) spend_budget();
    lock();
    while (const std::size_t ready = count_ready()) {
      const std::size_t index = nth_ready(choose(ready));
      Waiter* woken = nullptr;
      const ChannelStep step = cases_[index]->attempt(woken);
      if (step == ChannelStep::kWouldWait) continue;  // and it does not look ready any more
      unlock();
      if (woken != nullptr) woken->resume();
      cases_[index]->finish(step == ChannelStep::kClosed);
      return index;
    }
    if (!may_wait) {
      unlock();
      return fail(Errc::kAgain);
    }
    return wait(deadline);
  }

 private:
  void lock() noexcept {
    for (ChannelCore* channel : channels_) channel->lock_.lock();
  }
  void unlock() noexcept {
    for (ChannelCore* channel : channels_) channel->lock_.unlock();
  }
  [[nodiscard]] std::size_t count_ready() const noexcept {
    return static_cast<std::size_t>(
        std::count_if(cases_.begin(), cases_.end(), [](const SelectCase* one) { return one->looks_ready(); }));
  }
  [[nodiscard]] std::size_t nth_ready(std::size_t nth) const noexcept {
    std::size_t index = 0;
    while (!cases_[index]->looks_ready() || nth-- != 0) ++index;
    return index;
  }
  std::size_t choose(std::size_t count) noexcept {
    if (count == 1) return 0;
    if (Worker* worker = current_worker(); worker != nullptr && worker->simulated())
      return worker->order()->choose(count);
    std::uint32_t& random = channels_.front()->random_;
    random = random * 1664525U + 1013904223U;
    return static_cast<std::size_t>((static_cast<std::uint64_t>(random) * count) >> 32);
  }

  // The channels are locked.
  Result<std::size_t> wait(Deadline deadline) {
    Waiter waiter;
    for (SelectCase* one : cases_) {
      one->wait_ = {.waiter = &waiter, .place = one->place()};
      one->queue().push_back(one->wait_);
    }
    unlock();
    const Outcome outcome = waiter.park("select", deadline, true, channels_.empty() ? nullptr : channels_.front());
    std::size_t chosen = cases_.size();
    for (std::size_t i = 0; i < cases_.size(); ++i) {
      SelectCase& one = *cases_[i];
      if (one.wait_.chosen) {  // its claimer has taken it out
        chosen = i;
        continue;
      }
      const std::lock_guard guard(one.channel_.lock_);
      one.queue().remove(one.wait_);
    }
    if (outcome == Outcome::kTimedOut) return fail(Errc::kTimedOut);
    if (outcome == Outcome::kCancelled) return fail(Errc::kCancelled);
    cases_[chosen]->finish(outcome == Outcome::kNotified);
    return chosen;
  }

  std::span<SelectCase* const> cases_;
  std::array<ChannelCore*, 16> few_;
  std::vector<ChannelCore*> many_;
  std::span<ChannelCore*> channels_;  // each once, in the order of addresses
};

Result<std::size_t> select_among(std::span<SelectCase* const> cases, Deadline deadline) {
  return Selection(cases).run(deadline, true);
}

Result<std::size_t> try_select_among(std::span<SelectCase* const> cases) {
  return Selection(cases).run(Deadline::never(), false);
}

}  // namespace weft::sched
