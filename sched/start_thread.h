// sched/start_thread.h - a thread, or the reason why the system gives none.
//
// Where a limit on processes is reached (RLIMIT_NPROC, pids.max of a cgroup) std::thread throws; here it is an error like any
// other: kAgain, with the thread's purpose in it. Internal. Tests: tests/sched/thread_limit_test.cc.
#pragma once

#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include "kernel/result.h"

namespace weft::sched {

template <typename Body>
Result<std::thread> start_thread(const char* purpose, Body&& body) {
  try {
    return std::thread(std::forward<Body>(body));
  } catch (const std::system_error& refused) {
    return fail(Error::from_errno(refused.code().value(), std::string("start ") + purpose));
  }
}

}  // namespace weft::sched
