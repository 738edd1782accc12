#include "sched/checkpoint.h"

#include <algorithm>

#include "sched/budget.h"
#include "sched/current.h"
#include "sched/scheduling.h"
#include "sched/worker.h"

namespace weft::sched {

Slice::Due Slice::ask_slowly(std::uint64_t ticks, std::uint64_t switches) noexcept {
  const std::uint64_t length = ticks_in(kLength);
  const std::uint64_t between_looks = ticks_in(kBetweenLooks);
  if (switches != switches_) {
    switches_ = switches;
    began_ = ticks;
  }
  Due due = Due::kNothing;
  if (ticks - looked_ >= between_looks) {
    looked_ = ticks;
    due = Due::kLook;
  }
  if (ticks - began_ >= length) {
    began_ = ticks;
    due = Due::kYield;
  }
  asked_ = ticks;
  quiet_ = std::min(between_looks - (ticks - looked_), length - (ticks - began_));
  return due;
}

void checkpoint() noexcept {
  Worker* worker = current_worker();
  if (worker != nullptr && worker->current() != nullptr) worker->checkpoint();
}

void spend_budget() noexcept {
  Worker* worker = current_worker();
  if (worker == nullptr || worker->current() == nullptr) return;
  if (worker->slice().spend()) worker->checkpoint();
}

}  // namespace weft::sched
