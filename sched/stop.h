// sched/stop.h - a fiber's stop request as a std::stop_token, and std::stop_tokens as stop requests of fibers.
//
//   std::stop_callback wake(sched::stop_token(), [&] { jobs.close(); });       // what the calling fiber is asked, others hear
//   sched::Fiber worker = sched::spawn(source.get_token(), "worker", body);    // source.request_stop() asks the fiber
//
// stop_token() is triggered by whoever asks the fiber to stop: Fiber::request_stop(), its TaskGroup, the end of the runtime. It
// is made when first asked for: a fiber that never asks pays nothing.
//
// A callback runs on whoever makes the request, and must not park: no lock() that may wait, no send(). (std::stop_callback tells
// threads apart, not fibers.) close(), release(), count_down(), request_stop() and notifications do not park.
// Tests: tests/sched/stop_test.cc.
#pragma once

#include <stop_token>
#include <string_view>
#include <utility>

#include "sched/spawn.h"

namespace weft::sched {

// Of the calling fiber, or of the thread that stands in for one. On other threads: one that is never triggered.
std::stop_token stop_token();

// While it lives, a stop requested of `token` is requested of the calling fiber, which is then stopped for good. Ends on the
// fiber that began it. No effect on a thread that spawn() has not started.
class StopLink {
 public:
  explicit StopLink(std::stop_token token);
  StopLink(const StopLink&) = delete;
  StopLink& operator=(const StopLink&) = delete;

 private:
  struct Request {
    FiberState* fiber;
    void operator()() const noexcept;
  };
  std::stop_callback<Request> callback_;
};

// spawn() of a fiber that `token` can stop. One that is asked to stop before it has begun begins even so.
template <typename F>
Fiber spawn(std::stop_token token, std::string_view name, F body) {
  return spawn(name, [asked = std::move(token), run = std::move(body)]() mutable {
    const StopLink link(std::move(asked));
    run();
  });
}

}  // namespace weft::sched
