// sched/task.h - a fiber that brings back a value.
//
//   auto size = sched::start("measure", [&] { return measure(tree); });     ...     use(size.join());
//
// As Fiber: join() before destruction; join() throws what the body threw. Tests: tests/sched/task_group_test.cc.
#pragma once

#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sched/spawn.h"

namespace weft::sched {

template <typename T>
class Task {
 public:
  Task(Fiber fiber, std::unique_ptr<std::optional<T>> place) noexcept
      : fiber_(std::move(fiber)), place_(std::move(place)) {}
  [[nodiscard]] bool joinable() const noexcept { return fiber_.joinable(); }
  T join() {
    fiber_.join();
    return *std::move(*place_);
  }
  Status wait_until(Deadline deadline) { return fiber_.wait_until(deadline); }
  void request_stop() noexcept { fiber_.request_stop(); }

 private:
  Fiber fiber_;
  std::unique_ptr<std::optional<T>> place_;  // where the fiber leaves the value
};

template <typename F>
auto start(std::string_view name, F body) -> Task<std::invoke_result_t<F&>> {
  using T = std::invoke_result_t<F&>;
  auto place = std::make_unique<std::optional<T>>();
  Fiber fiber = spawn(name, [into = place.get(), run = std::move(body)]() mutable { into->emplace(run()); });
  return Task<T>(std::move(fiber), std::move(place));
}

}  // namespace weft::sched
