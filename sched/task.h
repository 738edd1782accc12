// sched/task.h - a fiber that brings back a value.
//
//   auto size = sched::start("measure", [&] { return measure(tree); });     ...     use(size.join());
//
// The body may return a value, a reference or nothing. As Fiber: join() before destruction; join() throws what the body threw.
// Tests: tests/sched/task_group_test.cc.
#pragma once

#include <concepts>
#include <memory>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include "sched/spawn.h"

namespace weft::sched {

// Where a result of type T is left by one fiber and taken by another. Internal.
template <typename T>
class ResultPlace {
 public:
  template <typename F>
  void fill_from(F& run) {
    value_.emplace(run());
  }
  T take() { return *std::move(value_); }

 private:
  std::optional<T> value_;
};
template <typename T>
class ResultPlace<T&> {
 public:
  template <typename F>
  void fill_from(F& run) {
    value_ = std::addressof(run());
  }
  T& take() noexcept { return *value_; }

 private:
  T* value_ = nullptr;
};
template <>
class ResultPlace<void> {
 public:
  template <typename F>
  void fill_from(F& run) {
    run();
  }
  void take() noexcept {}
};

template <typename T>
class Task {
 public:
  Task() noexcept = default;
  Task(Fiber fiber, std::unique_ptr<ResultPlace<T>> place) noexcept
      : fiber_(std::move(fiber)), place_(std::move(place)) {}
  [[nodiscard]] bool joinable() const noexcept { return fiber_.joinable(); }
  // Parks until it has ended.
  T join() {
    fiber_.join();
    return place_->take();
  }
  // As Fiber's.
  Status wait_until(Deadline deadline) { return fiber_.wait_until(deadline); }
  void request_stop() noexcept { fiber_.request_stop(); }

 private:
  Fiber fiber_;
  std::unique_ptr<ResultPlace<T>> place_;
};

template <std::invocable F>
auto start(std::string_view name, F body) -> Task<std::invoke_result_t<F&>> {
  using T = std::invoke_result_t<F&>;
  auto place = std::make_unique<ResultPlace<T>>();
  Fiber fiber = spawn(name, [into = place.get(), run = std::move(body)]() mutable { into->fill_from(run); });
  return Task<T>(std::move(fiber), std::move(place));
}

}  // namespace weft::sched
