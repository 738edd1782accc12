// sched/coroutine.h - C++20 coroutines and fibers wait for each other.
//
//   sched::Async<int> twice(std::string name) {                        // a coroutine: starts when it is awaited
//     int size = co_await sched::start("measure", [&] { ... });        // waits for a fiber
//     co_return 2 * size;
//   }
//   int size = sched::await(twice("x"));                               // on a fiber: parks until it has completed
//   auto task = sched::start("twice", twice("x"));                     // on a fiber of its own
//   co_await sched::resume_on(runtime);                                // goes on there
//
// A coroutine runs where it is resumed: until its first suspension on the fiber that awaits it, after it has waited for a Fiber or
// Task on a fiber made for it in the same runtime, after an awaitable of somebody else's where that resumes it. On a fiber it may
// call anything that parks. On plain threads all works with threads for fibers, as spawn() does.
//
// Exceptions come out of the co_await or await(). Stop requests are a fiber's: a coroutine that has moved to another is asked there.
// await() parks (a plain thread blocks) and does not end early: what has been started is awaited. An Async is destroyed before
// it is awaited or after it has completed, never between. Tests: tests/sched/coroutine_test.cc.
#pragma once

#include <coroutine>
#include <exception>
#include <string_view>
#include <type_traits>
#include <utility>

#include "kernel/check.h"
#include "sched/latch.h"
#include "sched/runtime.h"
#include "sched/spawn.h"
#include "sched/task.h"

namespace weft::sched {

// A value or an exception on its way. Internal.
template <typename T>
class CarriedResult {
 public:
  template <typename F>
  void fill_from(F run) {
    place_.fill_from(run);
  }
  void fail(std::exception_ptr thrown) noexcept { thrown_ = std::move(thrown); }
  T take() {
    if (thrown_ != nullptr) std::rethrow_exception(std::move(thrown_));
    return place_.take();
  }

 private:
  ResultPlace<T> place_;
  std::exception_ptr thrown_;
};

// --- A coroutine type ---------------------------------------------------------------------------------------------

template <typename T>
class Async;

// Internal.
class AsyncPromiseBase {
 public:
  struct Final {
    bool await_ready() const noexcept { return false; }
    template <typename Promise>
    std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) const noexcept {
      return ended.promise().continuation;  // a transfer, not a call: chains of any length need no stack
    }
    void await_resume() const noexcept {}
  };
  std::suspend_always initial_suspend() const noexcept { return {}; }
  Final final_suspend() const noexcept { return {}; }

  std::coroutine_handle<> continuation;
};

template <typename T>
class AsyncPromise : public AsyncPromiseBase {
 public:
  Async<T> get_return_object() noexcept;
  void unhandled_exception() noexcept { result.fail(std::current_exception()); }
  template <typename V>
    requires std::is_constructible_v<T, V&&>
  void return_value(V&& value) {
    result.fill_from([&]() -> T { return static_cast<V&&>(value); });
  }

  CarriedResult<T> result;
};

template <>
class AsyncPromise<void> : public AsyncPromiseBase {
 public:
  Async<void> get_return_object() noexcept;
  void unhandled_exception() noexcept { result.fail(std::current_exception()); }
  void return_void() noexcept {}

  CarriedResult<void> result;
};

template <typename T = void>
class [[nodiscard]] Async {
 public:
  using promise_type = AsyncPromise<T>;  // NOLINT(readability-identifier-naming): the language's name

  Async(Async&& other) noexcept : coroutine_(std::exchange(other.coroutine_, nullptr)) {}
  Async& operator=(Async&&) = delete;
  ~Async() {
    if (coroutine_) coroutine_.destroy();
  }

  // Once.
  auto operator co_await() && noexcept {
    struct Awaiter {
      std::coroutine_handle<promise_type> coroutine;
      bool await_ready() const noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiting) const noexcept {
        coroutine.promise().continuation = awaiting;
        return coroutine;
      }
      T await_resume() const { return coroutine.promise().result.take(); }
    };
    return Awaiter{coroutine_};
  }

 private:
  friend promise_type;
  explicit Async(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_(coroutine) {}
  std::coroutine_handle<promise_type> coroutine_;
};

template <typename T>
Async<T> AsyncPromise<T>::get_return_object() noexcept {
  return Async<T>(std::coroutine_handle<AsyncPromise>::from_promise(*this));
}
inline Async<void> AsyncPromise<void>::get_return_object() noexcept {
  return Async<void>(std::coroutine_handle<AsyncPromise>::from_promise(*this));
}

// --- A coroutine waits for a fiber --------------------------------------------------------------------------------

// Internal: another fiber joins, and then is the one the coroutine goes on on.
template <typename Handle, typename T>
class JoinAwaiter {
 public:
  explicit JoinAwaiter(Handle handle) noexcept : handle_(std::move(handle)) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> awaiting) {
    spawn("coroutine", [this, awaiting] {
      try {
        result_.fill_from([this]() -> T { return handle_.join(); });
      } catch (...) {
        result_.fail(std::current_exception());
      }
      awaiting.resume();  // `this` may be gone when it returns
    }).detach();
  }
  T await_resume() { return result_.take(); }

 private:
  Handle handle_;
  CarriedResult<T> result_;
};

inline auto operator co_await(Fiber&& fiber) noexcept { return JoinAwaiter<Fiber, void>(std::move(fiber)); }
template <typename T>
auto operator co_await(Task<T>&& task) noexcept {
  return JoinAwaiter<Task<T>, T>(std::move(task));
}

// Awaitable: the coroutine goes on on a fiber of that runtime.
inline auto resume_on(Runtime& runtime) noexcept {
  struct Awaiter {
    Runtime& runtime;
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> awaiting) const {
      runtime.spawn("coroutine", [awaiting] { awaiting.resume(); }).detach();
    }
    void await_resume() const noexcept {}
  };
  return Awaiter{runtime};
}

// --- A fiber waits for a coroutine --------------------------------------------------------------------------------

// Internal: runs by itself and destroys itself.
struct DetachedCoroutine {
  struct promise_type {  // NOLINT(readability-identifier-naming)
    DetachedCoroutine get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    [[noreturn]] void unhandled_exception() const noexcept { std::terminate(); }
  };
};

// Internal: what co_await asks of an awaitable.
template <typename A>
decltype(auto) awaiter_of(A&& awaitable) {
  if constexpr (requires { static_cast<A&&>(awaitable).operator co_await(); }) {
    return static_cast<A&&>(awaitable).operator co_await();
  } else if constexpr (requires { operator co_await(static_cast<A&&>(awaitable)); }) {
    return operator co_await(static_cast<A&&>(awaitable));
  } else {
    return static_cast<A&&>(awaitable);
  }
}
template <typename A>
using AwaitResult =
    decltype(std::declval<std::remove_reference_t<decltype(awaiter_of(std::declval<A>()))>&>().await_resume());

// Internal.
template <typename A, typename T>
DetachedCoroutine complete(std::remove_reference_t<A>& awaitable, CarriedResult<T>& result, Latch& completed) {
  try {
    if constexpr (std::is_void_v<T>) {
      co_await static_cast<A&&>(awaitable);
    } else {
      decltype(auto) value = co_await static_cast<A&&>(awaitable);
      result.fill_from([&]() -> T { return static_cast<decltype(value)&&>(value); });
    }
  } catch (...) {
    result.fail(std::current_exception());
  }
  completed.count_down();  // the last: what we refer to is on the stack of the one who waits
}

// Any awaitable, given as an rvalue where its co_await wants one.
template <typename A>
AwaitResult<A> await(A&& awaitable) {
  using T = AwaitResult<A>;
  // An rvalue reference stays in the frame of its coroutine: a value is carried.
  using Carried = std::conditional_t<std::is_rvalue_reference_v<T>, std::remove_cvref_t<T>, T>;
  CarriedResult<Carried> result;
  Latch completed(1);
  complete<A, Carried>(awaitable, result, completed);
  completed.wait();
  return result.take();
}

// On a fiber of its own.
template <typename T>
Task<T> start(std::string_view name, Async<T> coroutine) {
  return start(name, [run = std::move(coroutine)]() mutable -> T { return await(std::move(run)); });
}

}  // namespace weft::sched
