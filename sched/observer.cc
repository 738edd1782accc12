#include "sched/observer.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "sched/fiber.h"

namespace weft::sched {

void Observer::runs(const FiberState& fiber, std::int64_t now_ns) noexcept {
  if (with_latencies_) {
    slice_began_ns_ = now_ns;
    if (fiber.ready_ns != 0) wait_to_run_.add(now_ns - fiber.ready_ns);
  }
  note(TraceKind::kRun, &fiber, 0, now_ns);
}

void Observer::leaves(FiberState& fiber, TraceKind how, std::int64_t now_ns) noexcept {
  if (with_latencies_ && slice_began_ns_ != 0) slices_.add(now_ns - slice_began_ns_);
  fiber.ready_ns = how == TraceKind::kYield ? now_ns : 0;
  note(how, &fiber, 0, now_ns);
}

void Observer::becomes_ready(FiberState& fiber, TraceKind how, const FiberState* by, std::int64_t now_ns) noexcept {
  fiber.ready_ns = now_ns;
  note(how, &fiber, by != nullptr ? by->id : 0, now_ns);
}

void Observer::note(TraceKind kind, const FiberState* fiber, std::uint64_t other, std::int64_t now_ns) noexcept {
  if (!tracing()) return;
  const std::lock_guard guard(lock_);
  if (ring_.empty()) return;
  TraceEvent& event = ring_[written_++ % ring_.size()];
  event = {.at_ns = now_ns, .fiber = 0, .other = other, .reason = nullptr, .name = {}, .kind = kind};
  if (fiber == nullptr) return;
  event.fiber = fiber->id;
  if (kind == TraceKind::kPark) event.reason = fiber->wait_reason.load(std::memory_order_relaxed);
  static_assert(sizeof event.name < sizeof fiber->name);
  std::memcpy(event.name, fiber->name, sizeof event.name - 1);
}

void Observer::start_trace(std::size_t events) {
  std::vector<TraceEvent> ring(events);
  {
    const std::lock_guard guard(lock_);
    std::swap(ring_, ring);
    written_ = 0;
  }
  tracing_.store(true, std::memory_order_relaxed);
}

std::vector<TraceEvent> Observer::take_trace() {
  tracing_.store(false, std::memory_order_relaxed);
  std::vector<TraceEvent> ring;
  std::uint64_t written = 0;
  {
    const std::lock_guard guard(lock_);
    std::swap(ring_, ring);
    written = std::exchange(written_, 0);
  }
  if (written <= ring.size()) {
    ring.resize(written);
  } else {
    std::rotate(ring.begin(), ring.begin() + static_cast<std::ptrdiff_t>(written % ring.size()), ring.end());
  }
  return ring;
}

}  // namespace weft::sched
