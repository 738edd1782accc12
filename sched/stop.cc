#include "sched/stop.h"

#include <mutex>

#include "sched/fiber.h"
#include "sched/fiber_extras.h"
#include "sched/stand_in.h"

namespace weft::sched {

std::stop_token stop_token() {
  FiberState* fiber = current_self();
  if (fiber == nullptr) return {};
  FiberExtras& extras = FiberExtras::of(*fiber);
  if (!extras.stop.stop_possible()) {
    std::stop_source made;
    bool late = false;
    {
      const std::lock_guard guard(fiber->cancel_lock);
      extras.stop = made;
      late = fiber->stop_requested.load(std::memory_order_relaxed);
    }
    if (late) made.request_stop();
  }
  return extras.stop.get_token();
}

StopLink::StopLink(std::stop_token token) : callback_(std::move(token), Request{current_self()}) {}

void StopLink::Request::operator()() const noexcept {
  if (fiber != nullptr) fiber->request_stop();
}

}  // namespace weft::sched
