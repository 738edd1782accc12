#include "sched/fiber.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stop_token>

#include "sched/fiber_extras.h"

namespace weft::sched {

FiberState::FiberState(std::string_view fiber_name, std::move_only_function<void()> what) : body(std::move(what)) {
  const std::size_t length = std::min(fiber_name.size(), sizeof name - 1);
  std::memcpy(name, fiber_name.data(), length);
  if (locals_are_inherited.load(std::memory_order_relaxed)) [[unlikely]]
    extras = FiberExtras::inherited();
}

void FiberState::unref() noexcept {
  if (references.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  if (exception != nullptr) {
    std::fprintf(stderr, "weft: fiber \"%s\" ended by an exception that nobody joined for\n", name);
    std::terminate();
  }
  delete this;
}

void FiberState::run_body() noexcept {
  try {
    body();
  } catch (...) {
    exception = std::current_exception();
  }
  body = nullptr;
  if (extras != nullptr) FiberExtras::end(*this);
}

void FiberState::finish() noexcept {
  const std::lock_guard guard(join_lock);
  ended = true;
  phase.store(FiberPhase::kEnded, std::memory_order_relaxed);
  while (Waiter* waiter = joiners.claim_first()) waiter->resume();
}

Outcome FiberState::wait_ended(Deadline deadline, bool cancellable_wait) noexcept {
  Waiter waiter;
  {
    const std::lock_guard guard(join_lock);
    if (ended) return Outcome::kNotified;
    joiners.push_back(waiter);
  }
  const Outcome outcome = waiter.park("join", deadline, cancellable_wait);
  const std::lock_guard guard(join_lock);
  joiners.remove(waiter);
  return ended ? Outcome::kNotified : outcome;
}

void FiberState::request_stop() noexcept {
  Waiter* claimed = nullptr;
  std::stop_source source(std::nostopstate);
  {
    const std::lock_guard guard(cancel_lock);
    if (extras != nullptr) source = extras->stop;
    stop_requested.store(true, std::memory_order_relaxed);
    if (cancellable != nullptr && cancellable->claim(Outcome::kCancelled)) claimed = cancellable;
  }
  if (claimed != nullptr) claimed->resume();
  request_stop_of(source);
}

}  // namespace weft::sched
