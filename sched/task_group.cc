#include "sched/task_group.h"

#include <mutex>

#include "sched/fiber_extras.h"
#include "sched/stop.h"

namespace weft::sched {

TaskGroup::TaskGroup(std::stop_token parent) : parent_(std::move(parent)) { renew(); }

TaskGroup::~TaskGroup() {
  cancel();
  try {
    (void)join();
  } catch (...) {  // NOLINT(bugprone-empty-catch)
    // Whoever wanted to know has not asked.
  }
}

void TaskGroup::renew() {
  parent_link_.reset();
  if (stop_.stop_requested()) stop_ = std::stop_source();
  if (parent_.stop_possible()) parent_link_.emplace(parent_, [own = stop_]() mutable { own.request_stop(); });
}

void TaskGroup::spawn_task(std::string_view name, Body body) {
  // Those that have ended meanwhile, so that a group that lives long does not grow.
  Fibers ended;
  Fibers made(1);
  const auto self = made.begin();
  {
    const std::lock_guard guard(lock_);
    for (auto it = ended_.begin(); it != ended_.end();) {
      const auto next = std::next(it);
      if (it->joinable()) ended.splice(ended.end(), ended_, it);  // else its spawn_task() has not come back yet
      it = next;
    }
    running_.splice(running_.end(), made);
  }
  Fiber fiber = sched::spawn(
      name, [this, self, token = stop_.get_token(), task = std::move(body)]() mutable { run(self, token, task); });
  {
    const std::lock_guard guard(lock_);
    *self = std::move(fiber);
  }
  for (Fiber& one : ended) one.join();
}

void TaskGroup::run(Fibers::iterator self, const std::stop_token& token, Body& body) {
  Status status;
  std::exception_ptr thrown;
  {
    const StopLink link(token);
    try {
      status = body();
    } catch (...) {
      thrown = std::current_exception();
    }
    body = nullptr;
  }
  finish(self, std::move(status), std::move(thrown));
}

void TaskGroup::finish(Fibers::iterator self, Status status, std::exception_ptr thrown) {
  if (!status || thrown != nullptr) {
    {
      const std::lock_guard guard(lock_);
      // Errors of those that are now told to stop come later and are not kept.
      if (!status && first_error_) first_error_.swap(status);
      if (thrown != nullptr && first_exception_ == nullptr) first_exception_.swap(thrown);
    }
    cancel();
  }
  WaitQueue through;
  {
    const std::lock_guard guard(lock_);
    ended_.splice(ended_.end(), running_, self);
    if (running_.empty()) through.take_claimed(joiners_);
  }
  through.resume_all();
}

void TaskGroup::cancel() { request_stop_of(stop_); }

Outcome TaskGroup::wait_ended(Deadline deadline, bool cancellable) noexcept {
  Waiter waiter;
  {
    const std::lock_guard guard(lock_);
    if (running_.empty()) return Outcome::kNotified;
    joiners_.push_back(waiter);
  }
  const Outcome outcome = waiter.park("task group", deadline, cancellable, this);
  if (outcome != Outcome::kNotified) {
    const std::lock_guard guard(lock_);
    joiners_.remove(waiter);
  }
  return outcome;
}

Status TaskGroup::join_until(Deadline deadline) {
  const Outcome outcome = wait_ended(deadline, true);
  if (outcome != Outcome::kNotified) {
    cancel();
    (void)wait_ended(Deadline::never(), false);
  }
  Fibers ended;
  Status status;
  std::exception_ptr thrown;
  {
    const std::lock_guard guard(lock_);
    ended.swap(ended_);
    status.swap(first_error_);
    thrown.swap(first_exception_);
  }
  for (Fiber& fiber : ended) fiber.join();
  renew();
  if (thrown != nullptr) std::rethrow_exception(std::move(thrown));
  if (outcome == Outcome::kTimedOut && (status || status.error() == Errc::kCancelled)) return fail(Errc::kTimedOut);
  return status;
}

}  // namespace weft::sched
