#include "sched/classes.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "sched/inspect.h"
#include "sched/scheduling.h"

namespace weft::sched {
namespace {

std::atomic<std::uint64_t> last_serial{0};

bool fair(const FiberState& fiber) noexcept { return fiber.scheduling_class == SchedulingClass::kNormal; }

void charge(GroupState& group, std::int64_t had_ns, bool counts) noexcept {
  group.cpu_ns.fetch_add(had_ns, std::memory_order_relaxed);
  if (!counts) return;
  const std::int64_t step_ns = had_ns * GroupState::kDefaultShares / group.shares.load(std::memory_order_relaxed);
  group.virtual_ns += step_ns;
  group.step_ns = std::max(step_ns, group.step_ns - group.step_ns / 8);
}

// Shared counters, written under the lock and read without it.
void add(std::atomic<std::uint64_t>& counter, std::uint64_t change) noexcept {
  counter.store(counter.load(std::memory_order_relaxed) + change, std::memory_order_release);
}

}  // namespace

Classes::Classes() noexcept
    : serial_(last_serial.fetch_add(1, std::memory_order_relaxed) + 1),
      ordinary_("ordinary", GroupState::kDefaultShares) {}

std::vector<GroupReport> Classes::groups() {
  std::vector<GroupReport> groups;
  groups.reserve(16);
  const std::lock_guard guard(lock_);
  for (const GroupState* group : active_)
    groups.push_back({.name = group->name,
                      .shares = group->shares.load(std::memory_order_relaxed),
                      .active = group->active,
                      .queued = group->ready.size(),
                      .virtual_ns = group->virtual_ns});
  return groups;
}

// --- Queues ---------------------------------------------------------------------------------------------------------

void Classes::push(FiberState* fiber, int lane, bool came) noexcept {
  const std::lock_guard guard(lock_);
  LanedQueue* into = nullptr;
  switch (fiber->scheduling_class) {
    case SchedulingClass::kNormal: {
      GroupState& group = *fiber->group;
      into = &group.ready;
      if (!came) break;
      if (group.active++ == 0) {
        group.virtual_ns = std::max(group.virtual_ns, floor_ns_);
        active_.push_back(&group);
      }
      add(attention_, 1);
      break;
    }
    case SchedulingClass::kHigh:
      into = &high_;
      add(high_ready_, 1);
      add(attention_, 1);
      break;
    case SchedulingClass::kIdle:
      into = &idle_;
      add(idle_ready_, 1);
      break;
  }
  into->push(fiber, lane, ++order_);
  if (lane == LanedQueue::kAnyWorker) add(any_ready_, 1);
}

FiberState* Classes::pop(LanedQueue& from, unsigned worker) noexcept {
  const std::size_t before = from.any_size();
  FiberState* fiber = from.pop(worker);
  add(any_ready_, from.any_size() - before);
  return fiber;
}

FiberState* Classes::pop_high(unsigned worker) noexcept {
  FiberState* fiber = pop(high_, worker);
  if (fiber != nullptr) {
    add(high_ready_, -1ULL);
    add(attention_, -1ULL);
  }
  return fiber;
}

FiberState* Classes::pop_idle(unsigned worker, std::int64_t now_ns) noexcept {
  FiberState* fiber = pop(idle_, worker);
  if (fiber != nullptr) {
    add(idle_ready_, -1ULL);
    idle_since_ns_ = idle_.empty() ? 0 : now_ns;
  }
  return fiber;
}

bool Classes::has_for(unsigned worker) noexcept {
  if (attention() == 0 && !idle_waits()) return false;
  const std::lock_guard guard(lock_);
  return high_.has_for(worker) || idle_.has_for(worker) ||
         std::any_of(active_.begin(), active_.end(), [&](const GroupState* g) { return g->ready.has_for(worker); });
}

void Classes::left(const FiberState& fiber) noexcept {
  if (!fiber.classed || !fair(fiber)) return;
  add(attention_, -1ULL);
  if (--fiber.group->active == 0) std::erase(active_, fiber.group);
}

// --- Turns ----------------------------------------------------------------------------------------------------------

void Classes::close(Turn& turn, std::int64_t now_ns) noexcept {
  const std::int64_t had_ns = std::max<std::int64_t>(0, now_ns - turn.began_ns);
  if (turn.of == Turn::Of::kOrdinary) charge(ordinary_, had_ns, true);
  if (turn.group != nullptr) charge(*turn.group, had_ns, turn.of == Turn::Of::kGroup);
  if (turn.open()) turn.last = turn.of;
  turn.of = Turn::Of::kNobody;
  turn.look = false;
  turn.group = nullptr;
}

FiberState* Classes::open(Turn& turn, Turn::Of of, FiberState* fiber, std::int64_t now_ns) noexcept {
  turn.of = of;
  turn.look = true;
  turn.group = fiber != nullptr ? fiber->group : nullptr;
  turn.began_ns = now_ns;
  if (!turn.granted || turn.ends_ns <= now_ns) turn.ends_ns = now_ns + kTurnNs;
  return fiber;
}

void Classes::saw_ordinary(Turn& turn) noexcept {
  if (turn.ordinary_seen) return;
  turn.ordinary_seen = true;
  if (ordinary_workers_++ == 0) ordinary_.virtual_ns = std::max(ordinary_.virtual_ns, floor_ns_);
}

void Classes::forget_ordinary(Turn& turn) noexcept {
  if (turn.ordinary_seen) --ordinary_workers_;
  turn.ordinary_seen = false;
}

// Who cannot use its share, as one fiber on many workers cannot, would fall back without end, and then take all when it can.
void Classes::bound_lag() noexcept {
  std::int64_t ahead_ns = ordinary_workers_ != 0 ? ordinary_.virtual_ns : 0;
  std::int64_t step_ns = ordinary_workers_ != 0 ? ordinary_.step_ns : 0;
  for (const GroupState* group : active_) {
    ahead_ns = std::max(ahead_ns, group->virtual_ns);
    step_ns = std::max(step_ns, group->step_ns);
  }
  const std::int64_t least_ns = ahead_ns - std::max(kLeastLagNs, kStepsOfLag * step_ns);
  std::int64_t behind_ns = ahead_ns;
  const auto bring_up = [&](GroupState& group) {
    group.virtual_ns = std::max(group.virtual_ns, least_ns);
    behind_ns = std::min(behind_ns, group.virtual_ns);
  };
  for (GroupState* group : active_) bring_up(*group);
  if (ordinary_workers_ != 0) bring_up(ordinary_);
  floor_ns_ = std::max(floor_ns_, behind_ns);
}

GroupState* Classes::furthest_behind(unsigned worker, const GroupState* staying) noexcept {
  GroupState* found = nullptr;
  for (GroupState* group : active_) {
    if (group != staying && !group->ready.has_for(worker)) continue;
    if (found == nullptr || group->virtual_ns < found->virtual_ns) found = group;
  }
  return found;
}

// What has been ready for this worker since the time before last that it was asked this.
GroupState* Classes::overdue(Turn& turn, unsigned worker, std::int64_t now_ns) noexcept {
  if (now_ns - turn.oldest_at_ns < kPatienceNs) return nullptr;
  GroupState* found = nullptr;
  std::uint64_t oldest = turn.oldest_order;
  for (GroupState* group : active_) {
    const std::uint64_t order = group->ready.first_order(worker);
    if (order >= oldest) continue;
    oldest = order;
    found = group;
  }
  turn.oldest_at_ns = now_ns;
  turn.oldest_order = order_ + 1;
  return found;
}

bool Classes::idle_overdue(std::int64_t now_ns) noexcept {
  if (!idle_waits()) return false;
  if (idle_since_ns_ == 0) idle_since_ns_ = now_ns;
  return now_ns - idle_since_ns_ >= kIdlePatienceNs;
}

FiberState* Classes::pick(Turn& turn, unsigned worker, std::int64_t now_ns, Leaving leaving,
                          FunctionRef<FiberState*()> take_ordinary) noexcept {
  // In their turn, ordinary fibers follow each other without the lock.
  const bool turn_lasts = now_ns < turn.ends_ns;
  const bool from_ordinary = leaving.fiber == nullptr || !leaving.fiber->classed;
  if (turn.of == Turn::Of::kOrdinary && from_ordinary && turn_lasts && (turn.granted || !high_waits()))
    if (FiberState* fiber = take_ordinary()) return fiber;

  std::unique_lock guard(lock_);
  close(turn, now_ns);
  const bool was_high = std::exchange(turn.last, Turn::Of::kNobody) == Turn::Of::kHigh;
  if (leaving.fiber != nullptr && !leaving.stays) left(*leaving.fiber);
  FiberState* stays = leaving.stays ? leaving.fiber : nullptr;
  const bool ordinary_stays = stays != nullptr && !stays->classed;
  const auto stays_in = [&](SchedulingClass which) {
    return stays != nullptr && stays->classed && stays->scheduling_class == which;
  };

  if (idle_overdue(now_ns))
    if (FiberState* fiber = pop_idle(worker, now_ns)) return open(turn, Turn::Of::kIdle, fiber, now_ns);

  // High ones first, but for one turn in a while.
  turn.granted = turn.granted && turn_lasts;
  if (!was_high) turn.others_at_ns = now_ns;
  const bool high_here = high_.has_for(worker) || stays_in(SchedulingClass::kHigh);
  if (high_here && now_ns - turn.others_at_ns >= kHighRunNs) {
    turn.granted = true;
    turn.ends_ns = now_ns + kTurnNs;
  }
  const auto high = [&]() -> FiberState* {
    turn.granted = false;
    if (FiberState* fiber = pop_high(worker)) return open(turn, Turn::Of::kHigh, fiber, now_ns);
    open(turn, Turn::Of::kHigh, stays, now_ns);
    return nullptr;
  };
  if (high_here && !turn.granted) return high();

  bound_lag();
  if (GroupState* group = overdue(turn, worker, now_ns))
    return open(turn, Turn::Of::kGroup, pop(group->ready, worker), now_ns);
  GroupState* staying = stays_in(SchedulingClass::kNormal) ? stays->group : nullptr;
  bool ordinary_possible = true;
  for (;;) {
    GroupState* group = furthest_behind(worker, staying);
    if (ordinary_possible && (group == nullptr || ordinary_.virtual_ns <= group->virtual_ns ||
                              now_ns - turn.ordinary_at_ns >= kPatienceNs)) {
      turn.ordinary_at_ns = now_ns;
      guard.unlock();
      FiberState* fiber = take_ordinary();
      guard.lock();
      if (fiber != nullptr || ordinary_stays) {
        if (attention() != 0 || turn.granted) {
          saw_ordinary(turn);
          open(turn, Turn::Of::kOrdinary, nullptr, now_ns);
        } else {
          forget_ordinary(turn);
        }
        return fiber;
      }
      forget_ordinary(turn);
      ordinary_possible = false;
      continue;
    }
    if (group == nullptr) break;
    if (FiberState* fiber = pop(group->ready, worker)) return open(turn, Turn::Of::kGroup, fiber, now_ns);
    open(turn, Turn::Of::kGroup, stays, now_ns);
    return nullptr;
  }

  if (high_.has_for(worker) || stays_in(SchedulingClass::kHigh)) {
    turn.others_at_ns = now_ns;
    return high();
  }
  turn.granted = false;
  if (stays_in(SchedulingClass::kIdle)) {
    if (FiberState* fiber = pop_idle(worker, now_ns)) return open(turn, Turn::Of::kIdle, fiber, now_ns);
    open(turn, Turn::Of::kIdle, stays, now_ns);
  }
  return nullptr;
}

void Classes::ends(Turn& turn, const FiberState& fiber, std::int64_t now_ns) noexcept {
  const std::lock_guard guard(lock_);
  close(turn, now_ns);
  turn.look = true;  // forget_ordinary() is still to come
  left(fiber);
}

FiberState* Classes::pick_idle(Turn& turn, unsigned worker, std::int64_t now_ns) noexcept {
  if (!idle_waits()) return nullptr;
  const std::lock_guard guard(lock_);
  close(turn, now_ns);
  FiberState* fiber = pop_idle(worker, now_ns);
  return fiber != nullptr ? open(turn, Turn::Of::kIdle, fiber, now_ns) : nullptr;
}

}  // namespace weft::sched
