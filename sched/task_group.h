// sched/task_group.h - several fibers as one undertaking: all end before join() does, and one that fails stops the others.
//
//   sched::TaskGroup group;
//   group.spawn("left", [&] { return copy(left); });      // each returns a Status
//   group.spawn("right", [&] { return copy(right); });
//   TRY(group.join());                                    // the first error, if any
//
// A fiber asked to stop while it joins passes the request on to the group and still waits for it. The destructor stops and
// joins what was not joined. spawn() may be called by the group's own tasks. Tests: tests/sched/task_group_test.cc.
#pragma once

#include <exception>
#include <functional>
#include <string_view>
#include <vector>

#include "kernel/result.h"
#include "sched/condition_variable.h"
#include "sched/spawn.h"

namespace weft::sched {

class TaskGroup {
 public:
  TaskGroup() = default;
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  void spawn(std::string_view name, std::move_only_function<Status()> body);
  // Asks all tasks to stop, those to come as well.
  void cancel();
  // Parks until all have ended. The first error or, thrown, the first exception. The group is then as new.
  Status join();

 private:
  Mutex lock_;  // guards all below
  ConditionVariable all_ended_;
  std::vector<Fiber> fibers_;
  std::size_t running_ = 0;
  bool cancelled_ = false;
  Status first_error_;
  std::exception_ptr first_exception_;
};

}  // namespace weft::sched
