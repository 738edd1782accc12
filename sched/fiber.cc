#include "sched/fiber.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <limits>
#include <mutex>
#include <stop_token>

#include "sched/after_fork.h"
#include "sched/fiber_extras.h"
#include "sched/fiber_pool.h"
#include "sched/scheduler.h"

namespace weft::sched {

namespace {

// As memcpy, for the few bytes that a name has.
void copy_name(char* to, std::string_view name) noexcept {
  const std::size_t length = name.size();
  const char* from = name.begin();
  // Two pieces, which overlap where it is not twice as long as one.
  const auto pieces = [&]<typename Piece>(Piece first) {
    Piece last;
    std::memcpy(&first, from, sizeof first);
    std::memcpy(&last, from + length - sizeof last, sizeof last);
    std::memcpy(to, &first, sizeof first);
    std::memcpy(to + length - sizeof last, &last, sizeof last);
  };
  struct Wide {
    std::uint64_t words[2];
  };
  if (length >= sizeof(Wide)) {
    pieces(Wide{});
  } else if (length >= sizeof(std::uint64_t)) {
    pieces(std::uint64_t{});
  } else if (length >= sizeof(std::uint32_t)) {
    pieces(std::uint32_t{});
  } else {
    for (std::size_t i = 0; i < length; ++i) to[i] = name[i];
  }
  to[length] = '\0';
}

}  // namespace

void FiberState::begin(std::string_view fiber_name, Body&& what) noexcept {
  exceptions = {};
  pinned.store(nullptr, std::memory_order_relaxed);
  stack_pages = 0;
  phase.store(FiberPhase::kQueued, std::memory_order_relaxed);
  stop_requested.store(false, std::memory_order_relaxed);
  ended = false;
  body = std::move(what);
  copy_name(name, fiber_name.substr(0, sizeof name - 1));
  if (locals_are_inherited.load(std::memory_order_relaxed)) [[unlikely]] {
    extras = FiberExtras::inherited();
    has_extras = extras != nullptr;
  }
  references.store(2, std::memory_order_release);
}

void FiberState::want_stack(std::size_t bytes) noexcept {
  constexpr std::size_t kMost = std::numeric_limits<std::uint16_t>::max();  // more than any stack has
  stack_pages = static_cast<std::uint16_t>(std::min(kMost, bytes / kStackPage + (bytes % kStackPage != 0 ? 1 : 0)));
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
  if (failed) [[unlikely]] {
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
    failed = true;
  }
  if (forked_with_runtimes) [[unlikely]]
    refuse_if_left_behind(scheduler);
  body.reset();
  if (has_extras) [[unlikely]]
    FiberExtras::end(*this);
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

// After stop_requested is set (W4 in waiter.h).
void FiberState::cancel_wait() noexcept {
  const std::uint64_t word = wait.word.load(std::memory_order_seq_cst);
  constexpr std::uint64_t kMayBe = WaitWord::kParked | WaitWord::kCancellable;
  if ((word & WaitWord::kFlags) != kMayBe || !wait.cancel(word)) return;
  if (scheduler != nullptr) {
    scheduler->make_ready(this);
  } else {
    wait.word.fetch_or(WaitWord::kResumed, std::memory_order_acq_rel);
    Waiter::wake_thread(wait);
  }
}

void FiberState::request_stop() noexcept {
  std::stop_source source(std::nostopstate);
  {
    const std::lock_guard guard(cancel_lock);
    if (extras != nullptr) source = extras->stop;
    stop_requested.store(true, std::memory_order_seq_cst);
  }
  // Before the wait ends: the fiber would else go on, and perhaps take its callbacks away, as if nobody had asked.
  request_stop_of(source);
  cancel_wait();
}

}  // namespace weft::sched
