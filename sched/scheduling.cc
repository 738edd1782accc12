#include "sched/scheduling.h"

#include <algorithm>

#include "sched/current.h"
#include "sched/fiber.h"
#include "sched/group_state.h"
#include "sched/scheduler.h"

namespace weft::sched {

static_assert(Group::kDefaultShares == GroupState::kDefaultShares);

Group::Group(std::string_view name, unsigned shares) : state_(new GroupState(name, shares)) {}

Group::Group(const Group& other) noexcept : state_(other.state_) {
  if (state_ != nullptr) state_->ref();
}

Group::~Group() {
  if (state_ != nullptr) state_->unref();
}

std::string_view Group::name() const noexcept { return state_ != nullptr ? state_->name : "ordinary"; }

unsigned Group::shares() const noexcept {
  return state_ != nullptr ? state_->shares.load(std::memory_order_relaxed) : kDefaultShares;
}

void Group::set_shares(unsigned shares) noexcept {
  if (state_ != nullptr)
    state_->shares.store(std::clamp(shares, 1U, GroupState::kMostShares), std::memory_order_relaxed);
}

std::chrono::nanoseconds Group::cpu_time() const noexcept {
  return std::chrono::nanoseconds(state_ != nullptr ? state_->cpu_ns.load(std::memory_order_relaxed) : 0);
}

Fiber spawn(const SpawnOptions& options, Body body) {
  Worker* worker = current_worker();
  if (worker == nullptr) return spawn(options.name, std::move(body));
  return Fiber(worker->scheduler().spawn(options, std::move(body)));
}

SchedulingClass scheduling_class() noexcept {
  const FiberState* fiber = current_fiber();
  return fiber != nullptr ? fiber->scheduling_class : SchedulingClass::kNormal;
}

// --- How a fiber is scheduled, from its spawn to its end -----------------------------------------------------------------

void FiberState::begin_scheduling(const FiberState* parent, const SpawnOptions* options,
                                  std::uint64_t runtime) noexcept {
  if (parent != nullptr) {
    scheduling_class = parent->scheduling_class;
    group = parent->group;
  }
  if (options != nullptr) {
    if (options->group) group = options->group->state();
    if (options->scheduling_class) scheduling_class = *options->scheduling_class;
    want_stack(options->stack_bytes);
  }
  classed = group != nullptr || scheduling_class != SchedulingClass::kNormal;
  if (group == nullptr) return;
  group->ref();
  group->join(runtime);
}

void FiberState::end_scheduling() noexcept {
  if (GroupState* was = std::exchange(group, nullptr)) {
    was->leave();
    was->unref();
  }
  scheduling_class = SchedulingClass::kNormal;
  classed = false;
}

}  // namespace weft::sched
