#include "sched/fiber.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <stop_token>

#include "sched/after_fork.h"
#include "sched/fiber_extras.h"
#include "sched/fiber_pool.h"

namespace weft::sched {

void FiberState::begin(std::string_view fiber_name, Body what) noexcept {
  exceptions = {};
  queue_next = nullptr;
  pinned.store(nullptr, std::memory_order_relaxed);
  stack_bytes = 0;
  shares_stack = false;
  ready_ns = 0;
  spawned_by.store(0, std::memory_order_relaxed);
  phase.store(FiberPhase::kQueued, std::memory_order_relaxed);
  wait_reason.store(nullptr, std::memory_order_relaxed);
  ended = false;
  stop_requested.store(false, std::memory_order_relaxed);
  cancellable = nullptr;
  body = std::move(what);
  const std::size_t length = std::min(fiber_name.size(), sizeof name - 1);
  std::memcpy(name, fiber_name.data(), length);
  name[length] = '\0';
  in_stop_callbacks = false;
  if (locals_are_inherited.load(std::memory_order_relaxed)) [[unlikely]]
    extras = FiberExtras::inherited();
  references.store(2, std::memory_order_release);
}

bool FiberState::try_ref() noexcept {
  std::uint32_t count = references.load(std::memory_order_relaxed);
  while (count != 0)
    if (references.compare_exchange_weak(count, count + 1, std::memory_order_acquire, std::memory_order_relaxed))
      return true;
  return false;
}

void FiberState::unref(std::uint32_t count) noexcept {
  if (references.fetch_sub(count, std::memory_order_acq_rel) != count) return;
  if (exception != nullptr) {
    std::fprintf(stderr, "weft: fiber \"%s\" ended by an exception that nobody joined for\n", name);
    std::terminate();
  }
  if (pool != nullptr) {
    pool->recycle(*this);
  } else {
    delete this;
  }
}

void FiberState::run_body() noexcept {
  try {
    body();
  } catch (...) {
    exception = std::current_exception();
  }
  if (forked_with_runtimes) [[unlikely]]
    refuse_if_left_behind(scheduler);
  body.reset();
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
    if (forked_with_runtimes) [[unlikely]]
      refuse_if_left_behind(scheduler);
    joiners.push_back(waiter);
  }
  const Outcome outcome = waiter.park("join", deadline, cancellable_wait, this);
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
