// sched/offload.h - runs calls that block (old system calls, foreign libraries) on threads of their own.
//
//   auto text = sched::blocking([&] { return slow_library_call(path); });
//
// The fiber parks meanwhile and its worker goes on. From a plain thread, in a Simulation, or where the system gives no thread
// for it, the call is made where it stands.
// Captures may refer to the fiber's stack. The callable must not throw.
// Tests: tests/sched/offload_test.cc.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernel/function_ref.h"
#include "kernel/result.h"
#include "sched/deadline.h"

namespace weft::sched {

// Parks until `call` has run.
void run_blocking(FunctionRef<void()> call) noexcept;

template <typename F>
auto blocking(F&& call) -> std::invoke_result_t<F&> {
  using R = std::invoke_result_t<F&>;
  if constexpr (std::is_void_v<R>) {
    run_blocking([&] { call(); });
  } else {
    std::optional<R> result;
    run_blocking([&] { result.emplace(call()); });
    return *std::move(result);
  }
}

// What run_blocking_until() runs, and what becomes of it once nobody waits for it any more.
class DroppableCall {
 public:
  virtual ~DroppableCall() = default;
  virtual void run() noexcept = 0;

 protected:
  DroppableCall() = default;
  DroppableCall(const DroppableCall&) = delete;
  DroppableCall& operator=(const DroppableCall&) = delete;
};
Status run_blocking_until(const std::shared_ptr<DroppableCall>& call, Deadline deadline);

// Waits for the call at most until then: kTimedOut, kCancelled. The call itself is not interrupted: it goes on with the callable,
// which must own what it uses, and its result is dropped; if it has not begun, it never does. The end of the runtime waits
// for it. From a plain thread, or in a Simulation, it is made where it stands and waited for in any case.
template <typename F>
auto blocking_until(Deadline deadline, F call) -> Result<std::invoke_result_t<F&>> {
  using R = std::invoke_result_t<F&>;
  struct Call final : DroppableCall {
    explicit Call(F&& body) : callable(std::move(body)) {}
    void run() noexcept override {
      if constexpr (std::is_void_v<R>) {
        callable();
      } else {
        result.emplace(callable());
      }
    }
    F callable;
    std::optional<std::conditional_t<std::is_void_v<R>, bool, R>> result;
  };
  auto made = std::make_shared<Call>(std::move(call));
  WEFT_TRY(run_blocking_until(made, deadline));
  if constexpr (std::is_void_v<R>) {
    return {};
  } else {
    return *std::move(made->result);
  }
}

// The threads, made as needed up to a bound and ended after idling. Internal; one for each runtime. Thread-safe.
class OffloadPool {
 public:
  explicit OffloadPool(unsigned max_threads = 64) noexcept : max_threads_(max_threads) {}
  ~OffloadPool();
  OffloadPool(const OffloadPool&) = delete;
  OffloadPool& operator=(const OffloadPool&) = delete;

  struct Job {
    FunctionRef<void()> call;
    FunctionRef<void()> done;  // the last touch of the job
    Job* next = nullptr;
  };
  // Where the system gives not even one thread, the call is made here and now.
  void submit(Job& job);

 private:
  bool enqueue(Job& job);
  static void run(Job& job);
  void serve();

  const unsigned max_threads_;
  std::mutex lock_;  // guards all below
  std::condition_variable work_;
  Job* head_ = nullptr;
  Job* tail_ = nullptr;
  unsigned idle_ = 0;
  unsigned queued_ = 0;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace weft::sched
