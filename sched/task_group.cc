#include "sched/task_group.h"

#include <utility>

namespace weft::sched {

TaskGroup::~TaskGroup() {
  cancel();
  try {
    (void)join();
  } catch (...) {  // NOLINT(bugprone-empty-catch)
    // Whoever wanted to know has not asked.
  }
}

void TaskGroup::spawn(std::string_view name, std::move_only_function<Status()> body) {
  const std::lock_guard guard(lock_);
  ++running_;
  fibers_.push_back(sched::spawn(name, [this, task = std::move(body)]() mutable {
    Status status;
    std::exception_ptr thrown;
    try {
      status = task();
    } catch (...) {
      thrown = std::current_exception();
    }
    task = nullptr;
    const std::lock_guard inner(lock_);
    if (!status || thrown != nullptr) {
      // Errors of those that are now told to stop come later and are not kept.
      if (!status && first_error_) first_error_ = std::move(status);
      if (thrown != nullptr && first_exception_ == nullptr) first_exception_ = thrown;
      cancelled_ = true;
      for (Fiber& fiber : fibers_) fiber.request_stop();
    }
    if (--running_ == 0) all_ended_.notify_all();
  }));
  if (cancelled_) fibers_.back().request_stop();
}

void TaskGroup::cancel() {
  const std::lock_guard guard(lock_);
  cancelled_ = true;
  for (Fiber& fiber : fibers_) fiber.request_stop();
}

Status TaskGroup::join() {
  std::unique_lock guard(lock_);
  const auto ended = [this] { return running_ == 0; };
  if (!all_ended_.wait_until(guard, Deadline::never(), ended)) {
    guard.unlock();
    cancel();
    guard.lock();
    all_ended_.wait(guard, ended);
  }
  std::vector<Fiber> fibers = std::move(fibers_);
  fibers_.clear();
  cancelled_ = false;
  Status status = std::exchange(first_error_, Status());
  std::exception_ptr thrown = std::exchange(first_exception_, nullptr);
  guard.unlock();
  for (Fiber& fiber : fibers) fiber.join();
  if (thrown != nullptr) std::rethrow_exception(std::move(thrown));
  return status;
}

}  // namespace weft::sched
