#include "sched/spawn.h"

#include <time.h>

#include <cerrno>
#include <thread>
#include <utility>

#include "kernel/check.h"
#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/fiber_extras.h"
#include "sched/scheduler.h"
#include "sched/stand_in.h"
#include "sched/waiter.h"

namespace weft::sched {
namespace {

FiberState* spawn_thread(std::string_view name, Body body) {
  auto* state = new FiberState;
  state->begin(name, std::move(body));
  state->thread = std::thread([state] {
    set_current_stand_in(state);
    state->run_body();
    set_current_stand_in(nullptr);
    state->finish();
    state->unref();
  });
  return state;
}

// The end of a handle's interest.
void let_go(FiberState* state) noexcept {
  if (state->thread.joinable()) state->thread.detach();
  state->unref();
}

}  // namespace

Fiber& Fiber::operator=(Fiber&& other) noexcept {
  WEFT_CHECK(state_ == nullptr);
  state_ = std::exchange(other.state_, nullptr);
  return *this;
}

Fiber::~Fiber() { WEFT_CHECK(state_ == nullptr); }

void Fiber::join() {
  WEFT_CHECK(state_ != nullptr);
  FiberState* state = std::exchange(state_, nullptr);
  std::uint32_t references = 1;
  if (Worker* worker = current_worker(); worker != nullptr && worker->run_inline(*state)) {
    references = 2;
  } else {
    state->wait_ended(Deadline::never(), false);
    if (state->thread.joinable()) state->thread.join();
  }
  std::exception_ptr thrown;
  if (state->failed) [[unlikely]] {
    thrown = std::exchange(state->exception, nullptr);
    state->failed = false;
  }
  state->unref(references);
  if (thrown != nullptr) std::rethrow_exception(std::move(thrown));
}

Status Fiber::wait_until(Deadline deadline) {
  WEFT_CHECK(state_ != nullptr);
  switch (state_->wait_ended(deadline, true)) {
    case Outcome::kTimedOut: return fail(Errc::kTimedOut);
    case Outcome::kCancelled: return fail(Errc::kCancelled);
    default: return {};
  }
}

void Fiber::detach() noexcept {
  WEFT_CHECK(state_ != nullptr);
  let_go(std::exchange(state_, nullptr));
}

void Fiber::request_stop() noexcept {
  WEFT_CHECK(state_ != nullptr);
  state_->request_stop();
}

Fiber spawn(std::string_view name, Body body) {
  Worker* worker = current_worker();
  if (worker == nullptr) return Fiber(spawn_thread(name, std::move(body)));
  return Fiber(worker->spawn(name, std::move(body)));
}

Fiber spawn_pinned(unsigned worker_index, std::string_view name, Body body) {
  Worker* worker = current_worker();
  if (worker == nullptr) return Fiber(spawn_thread(name, std::move(body)));
  return Fiber(worker->scheduler().spawn(name, std::move(body), static_cast<int>(worker_index)));
}

unsigned worker_count() noexcept {
  Worker* worker = current_worker();
  return worker != nullptr ? worker->scheduler().worker_count() : 1;
}

unsigned worker_index() noexcept {
  Worker* worker = current_worker();
  return worker != nullptr ? worker->index() : 0;
}

void yield() noexcept {
  if (Worker* worker = current_worker(); worker != nullptr && worker->current() != nullptr) {
    worker->yield_current();
  } else {
    std::this_thread::yield();
  }
}

Status sleep_until(Deadline deadline) {
  Waiter waiter;
  return waiter.park("sleep", deadline, true) == Outcome::kCancelled ? Status(fail(Errc::kCancelled)) : Status();
}

Status sleep_for(std::chrono::nanoseconds duration) { return sleep_until(Deadline::after(duration)); }

bool stop_requested() noexcept {
  const FiberState* self = current_self();
  return self != nullptr && self->stop_requested.load(std::memory_order_relaxed);
}

bool on_fiber() noexcept { return current_fiber() != nullptr; }

NoMigrate::NoMigrate() noexcept {
  FiberState* fiber = current_fiber();
  if (fiber == nullptr) return;
  if (fiber->pinned.load(std::memory_order_relaxed) != nullptr) {
    if (fiber->extras != nullptr) stopped_roaming_ = std::exchange(fiber->extras->roams, false);
    return;
  }
  fiber->pinned.store(current_worker(), std::memory_order_relaxed);
  pinned_here_ = true;
}

NoMigrate::~NoMigrate() {
  if (pinned_here_) current_fiber()->pinned.store(nullptr, std::memory_order_relaxed);
  if (stopped_roaming_) current_fiber()->extras->roams = true;
}

}  // namespace weft::sched
