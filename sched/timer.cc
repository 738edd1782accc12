#include "sched/timer.h"

#include <mutex>
#include <thread>
#include <utility>

#include "sched/condition_variable.h"
#include "sched/current.h"
#include "sched/mutex.h"

namespace weft::sched {

// Shared with the fiber: a callback may destroy its Timer.
struct Timer::State {
  Mutex lock;  // guards all below
  ConditionVariable changed;
  bool cancelled = false;
  FiberState* fiber = nullptr;  // whose callback it is, to know it again
  std::thread::id thread;       // where that is a plain thread

  void run(Deadline first, std::chrono::nanoseconds period, std::move_only_function<void()>& callback) noexcept {
    Ticker ticker(period, first);
    std::unique_lock guard(lock);
    fiber = current_fiber();
    if (fiber == nullptr) thread = std::this_thread::get_id();
    for (;;) {
      // Success: cancelled. A request to stop, at the runtime's end, ends it as well.
      const Status waited = changed.wait_until(guard, ticker.next(), [this] { return cancelled; });
      if (waited || waited.error() != Errc::kTimedOut) return;
      guard.unlock();
      callback();
      guard.lock();
      if (period == std::chrono::nanoseconds::zero()) return;
      ticker.advance();
    }
  }
};

Timer::Timer(std::string_view name, Deadline first, std::chrono::nanoseconds period,
             std::move_only_function<void()> callback)
    : state_(std::make_shared<State>()) {
  // Held until there is a handle: a callback that is due at once may cancel its own Timer.
  const std::lock_guard guard(state_->lock);
  fiber_ = spawn(
      name, [state = state_, first, period, run = std::move(callback)]() mutable { state->run(first, period, run); });
}

void Timer::cancel() {
  if (!fiber_.joinable()) return;
  bool within = false;
  {
    const std::lock_guard guard(state_->lock);
    state_->cancelled = true;
    FiberState* self = current_fiber();
    within = self != nullptr ? self == state_->fiber
                             : state_->fiber == nullptr && state_->thread == std::this_thread::get_id();
  }
  state_->changed.notify_all();
  if (within) {
    fiber_.detach();
  } else {
    fiber_.join();
  }
}

void Ticker::advance() noexcept {
  if (period_ <= std::chrono::nanoseconds::zero()) return;
  const auto late = now() - next_.at();
  const auto steps = late < std::chrono::nanoseconds::zero() ? 1 : late / period_ + 1;
  next_ = Deadline(next_.at() + steps * period_);
}

Status Ticker::wait() {
  if (auto slept = sleep_until(next_); !slept) return slept;
  advance();
  return {};
}

}  // namespace weft::sched
