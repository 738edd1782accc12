// sched/fork_join.h - work that may run beside the caller, if another worker has nothing to do: a fork that nobody takes is a call.
//
//   sched::Fork left([&] { return fib(n - 1); });     sched::parallel_for(0, count, 1024, [&](int i) { ... });
//   long right = fib(n - 2);                          sched::parallel_invoke([&] { ... }, [&] { ... });
//   return left.join() + right;
//
// A Fork is a frame on the caller's stack, shown to thieves in a deque (work_deque.h): about ten instructions and a fence. join()
// takes it back and calls it; if it was taken, the caller waits (a fiber parks) and gets its result or what it threw. The scheme
// is Cilk's: Frigo, Leiserson, Randall, "The Implementation of the Cilk-5 Multithreaded Language" (PLDI 1998), with children
// rather than continuations taken. The body runs on the caller's fiber or on another of the same name: keep no fiber-local
// values and no locks between the two. It may park; when the caller parks first, its forks become fibers of their own.
//
// A fork not joined, because an exception came before, is not run if it has not begun; else it is asked to stop and awaited. A
// stop request to the caller reaches the body. Join forks in the reverse order; in another they cost a fiber each.
//
// From a fiber: in parallel. From a plain thread: join() calls the body. In a Simulation each fork is a fiber. Errors: none of its
// own. A Fork is used by the fiber or thread that made it. Tests: tests/sched/fork_join_test.cc.
#pragma once

#include <concepts>
#include <cstdint>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

#include "kernel/spinlock.h"

namespace weft::sched {

struct FiberState;
class ForkDeque;
class Waiter;

// What the scheduler sees of a fork; on its parent's stack until it is done or was never begun.
struct ForkFrame {
  explicit ForkFrame(void (*run_it)(ForkFrame&) noexcept) noexcept : run(run_it) {}
  ForkFrame(const ForkFrame&) = delete;
  ForkFrame& operator=(const ForkFrame&) = delete;

  // Shows it to thieves.
  void push();
  // True: it is back, and the caller's to run or to leave.
  bool take_back() noexcept;
  // After take_back() said no: until it has run. With `stop`, it is asked to stop.
  void await(bool stop) noexcept;
  // By the fiber that ran it.
  void tell_done() noexcept;

  void (*const run)(ForkFrame&) noexcept;  // keeps result or exception
  ForkDeque* deque = nullptr;              // null: a plain thread's, or a fiber's already
  FiberState* parent = nullptr;
  FiberState* runner = nullptr;  // guarded by lock, as the rest; with the handle's reference
  Spinlock lock;
  bool stop = false;
  bool done = false;
  Waiter* waiter = nullptr;
};

template <typename F>
class Fork : private ForkFrame {
 public:
  using Result = std::invoke_result_t<F&>;
  static_assert(!std::is_reference_v<Result>, "return a pointer instead");

  explicit Fork(F body) : ForkFrame(&Fork::run_elsewhere), body_(std::move(body)) { push(); }
  ~Fork() {
    if (!joined_ && !take_back()) await(true);
  }
  Fork(const Fork&) = delete;
  Fork& operator=(const Fork&) = delete;

  // Once.
  Result join() {
    joined_ = true;
    if (take_back()) [[likely]]
      return body_();
    await(false);
    if (thrown_ != nullptr) [[unlikely]]
      std::rethrow_exception(std::move(thrown_));
    if constexpr (!std::is_void_v<Result>) return *std::move(result_);
  }

 private:
  struct Nothing {};
  static void run_elsewhere(ForkFrame& frame) noexcept {
    auto& self = static_cast<Fork&>(frame);
    try {
      if constexpr (std::is_void_v<Result>) {
        self.body_();
      } else {
        self.result_.emplace(self.body_());
      }
    } catch (...) {
      self.thrown_ = std::current_exception();
    }
  }

  bool joined_ = false;
  F body_;
  [[no_unique_address]] std::conditional_t<std::is_void_v<Result>, Nothing, std::optional<Result>> result_;
  std::exception_ptr thrown_;
};

// All of them, in any order and perhaps at once. If several throw, one exception comes out.
template <typename First>
void parallel_invoke(First&& first) {
  first();
}
template <typename First, typename... Rest>
void parallel_invoke(First&& first, Rest&&... rest) {
  Fork others([&] { parallel_invoke(rest...); });
  first();
  others.join();
}

// body(i) for each i in [first, last), in pieces of at most `grain` (at least 1) that run in order each. After an exception, which
// comes out, pieces that have not begun are left out.
template <std::integral Index, typename Body>
void parallel_for(Index first, Index last, Index grain, const Body& body) {
  if (first >= last) return;
  // In the unsigned type, since last - first may not fit the other.
  using Count = std::make_unsigned_t<Index>;
  const Count count = static_cast<Count>(last) - static_cast<Count>(first);
  if (grain >= 1 ? count <= static_cast<Count>(grain) : count == 1) {
    for (Index i = first; i < last; ++i) body(i);
    return;
  }
  const Index middle = static_cast<Index>(static_cast<Count>(first) + count / 2);
  Fork upper([&] { parallel_for(middle, last, grain, body); });
  parallel_for(first, middle, grain, body);
  upper.join();
}

}  // namespace weft::sched
