#include "sched/after_fork.h"

#include <pthread.h>

#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "sched/current.h"
#include "sched/runtimes.h"
#include "sched/scheduler.h"

namespace weft::sched {
namespace {

void in_child() noexcept {
  Worker* here = current_worker();
  // A simulation has no thread of its own, and goes on in the child as in the parent.
  if (here != nullptr && !here->scheduler().options().simulated) set_current_worker(nullptr);
  forked_with_runtimes |= leave_runtimes_behind();
}

}  // namespace

constinit bool forked_with_runtimes = false;

void watch_for_forks() noexcept {
  static std::once_flag once;
  std::call_once(once, [] { pthread_atfork(&hold_runtimes, &let_go_of_runtimes, &in_child); });
}

void refuse_if_left_behind(const Scheduler* scheduler) noexcept {
  if (scheduler == nullptr || !scheduler->left_behind()) return;
  std::fprintf(stderr,
               "weft: runtime \"%s\" was used in the child of a fork, which has none of its threads. "
               "Start another program (exec), end by _exit, or make a runtime in the child.\n",
               scheduler->options().name.c_str());
  std::abort();
}

}  // namespace weft::sched
