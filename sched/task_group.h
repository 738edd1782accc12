// sched/task_group.h - several fibers as one undertaking: all end before join() does, and one that fails stops the others.
//
//   Status copied = sched::with_task_group([&](sched::TaskGroup& group) {
//     group.spawn("left", [&] { return copy(left); });               // returns a Status, or nothing
//     group.spawn("right", [&] { return copy(right); });
//   });                                                              // joined here: the first error, or, thrown, the first exception
//
//   sched::TaskGroup group;                                          // the same by hand, with values
//   auto size = group.start("measure", [&] { return measure(tree); });      // returns a value or a Result
//   TRY(group.join());
//   use(*size);
//
// A task fails by an error or an exception. The first failure asks all others to stop, also those spawned later; what they say
// then is not kept, but an exception goes before an error. Groups nest: a fiber that is asked to stop while it joins passes that
// on to the group, and still waits for it. A stop of the token given to the constructor does as well. The destructor stops and joins what
// was not joined.
//
// spawn(), start() and cancel() from any fiber or thread while the group is not being destroyed or, but for its own tasks, joined.
// join() parks. After structured concurrency (Sústrik 2016, Smith 2018). Tests: tests/sched/task_group_test.cc.
#pragma once

#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stop_token>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernel/result.h"
#include "kernel/spinlock.h"
#include "sched/spawn.h"
#include "sched/waiter.h"

namespace weft::sched {

// The value of a task of a group. There is one once the group's join() has succeeded.
template <typename T>
class GroupValue {
 public:
  T& operator*() const noexcept { return **place_; }
  T* operator->() const noexcept { return &**place_; }

 private:
  friend class TaskGroup;
  explicit GroupValue(std::shared_ptr<std::optional<T>> place) noexcept : place_(std::move(place)) {}
  std::shared_ptr<std::optional<T>> place_;
};

class TaskGroup {
 public:
  TaskGroup() = default;
  // Tasks are stopped when `parent` is.
  explicit TaskGroup(std::stop_token parent);
  ~TaskGroup();
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;

  template <typename F>
  void spawn(std::string_view name, F body) {
    if constexpr (std::is_void_v<std::invoke_result_t<F&>>) {
      spawn_task(name, [run = std::move(body)]() mutable {
        run();
        return Status();
      });
    } else {
      static_assert(std::is_same_v<std::invoke_result_t<F&>, Status>);
      spawn_task(name, std::move(body));
    }
  }
  template <typename F>
  auto start(std::string_view name, F body) {
    using Returned = std::invoke_result_t<F&>;
    using T = typename ValueOf<Returned>::Type;
    auto place = std::make_shared<std::optional<T>>();
    spawn_task(name, [place, run = std::move(body)]() mutable -> Status {
      if constexpr (std::is_same_v<Returned, Result<T>>) {
        place->emplace(WEFT_TRY(run()));
      } else {
        place->emplace(run());
      }
      return {};
    });
    return GroupValue<T>(std::move(place));
  }

  // Asks all tasks to stop, those to come as well.
  void cancel();
  // Whether one has failed or somebody has cancelled.
  [[nodiscard]] bool cancelled() const noexcept { return stop_.stop_requested(); }
  // What stops the tasks; for what is not a task.
  [[nodiscard]] std::stop_token stop_token() const noexcept { return stop_.get_token(); }

  // Until all have ended. The first error or, thrown, the first exception. The group is then as new.
  Status join() { return join_until(Deadline::never()); }
  // At the deadline the tasks are asked to stop, and awaited even so: kTimedOut, unless one failed.
  Status join_until(Deadline deadline);

 private:
  template <typename R>
  struct ValueOf {
    using Type = R;
  };
  template <typename V>
  struct ValueOf<Result<V>> {
    using Type = V;
  };
  using Body = std::move_only_function<Status()>;
  using Fibers = std::list<Fiber>;

  void spawn_task(std::string_view name, Body body);
  void run(Fibers::iterator self, const std::stop_token& token, Body& body);
  void finish(Fibers::iterator self, Status status, std::exception_ptr thrown);
  void renew();
  Outcome wait_ended(Deadline deadline, bool cancellable) noexcept;

  std::stop_source stop_;
  std::stop_token parent_;
  std::optional<std::stop_callback<std::function<void()>>> parent_link_;

  Spinlock lock_;  // guards all below
  Fibers running_;
  Fibers ended_;  // to be joined
  WaitQueue joiners_;
  Status first_error_;
  std::exception_ptr first_exception_;
};

// Runs `body` with a group, and joins it. `body` returns nothing, or a Status whose error cancels the group and is returned; what
// it throws cancels the group too.
template <typename F>
Status with_task_group(F&& body) {
  TaskGroup group;
  if constexpr (std::is_void_v<std::invoke_result_t<F&, TaskGroup&>>) {
    body(group);
    return group.join();
  } else {
    Status own = body(group);
    if (!own) group.cancel();
    Status joined = group.join();
    return own ? std::move(joined) : std::move(own);
  }
}

}  // namespace weft::sched
