// tests/sched/explorer.h - tries every interleaving of a few small model threads, and prints the shortest one that goes wrong.
//
//   a model: cells of memory, threads written as coroutines, what must hold  ->  explore()  ->  states, failure, trace
//
// A model thread is straight-line code that co_awaits each access to memory it shares. explore() decides who goes next, breadth
// first over all choices, so that the failing interleaving is a shortest one; coroutines cannot be copied, so a state is come to
// by running the choices that lead to it again. Two ways to the same state are followed once: a state is the memory, the store
// buffers, and for each thread what it has read so far, which decides where it stands and all its locals (a 64-bit hash of these
// is kept; with a million states two of them fall together once in some ten million runs).
//
// Memory, by what may happen beside the interleaving of the steps:
//   kSequential        nothing
//   kStoreBuffers      each thread has a buffer from which its stores reach memory later, in order, and sees them itself at once:
//                      x86 (Owens, Sarkar and Sewell, "A Better x86 Memory Model: x86-TSO", 2009). Locked instructions and
//                      fences wait until it is empty.
//   kReorderedStores   and relaxed stores to different cells leave the buffer in any order; a release one leaves it after all
//                      before it. What comes apart here also comes apart on Arm.
// Loads are made in program order everywhere, so what an acquire is for is not checked, nor a fence between two loads.
//
// Tests: tests/sched/explorer_test.cc.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace weft::sched::model {

enum class Memory : std::uint8_t { kSequential, kStoreBuffers, kReorderedStores };

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr auto kAcquire = std::memory_order_acquire;
constexpr auto kRelease = std::memory_order_release;
constexpr auto kAcqRel = std::memory_order_acq_rel;
constexpr auto kSeqCst = std::memory_order_seq_cst;

class Machine;
class Thread;

template <typename T>
struct StepsValue {
  T value{};
  void return_value(T given) noexcept { value = given; }
  T take() noexcept { return value; }
};
template <>
struct StepsValue<void> {
  void return_void() noexcept {}
  void take() noexcept {}
};

// A routine of a model thread; another one calls it by co_await.
template <typename T = void>
class Steps {
 public:
  struct promise_type : StepsValue<T> {  // NOLINT(readability-identifier-naming): the language looks for this name
    std::coroutine_handle<> caller;
    Steps get_return_object() noexcept { return Steps(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    struct Final {
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> ended) noexcept {
        const std::coroutine_handle<> to = ended.promise().caller;
        return to ? to : std::noop_coroutine();
      }
      void await_resume() noexcept {}
    };
    Final final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { std::terminate(); }
  };

  Steps() noexcept = default;
  Steps(Steps&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Steps& operator=(Steps&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Steps() {
    if (handle_) handle_.destroy();
  }
  [[nodiscard]] std::coroutine_handle<promise_type> handle() const noexcept { return handle_; }

  auto operator co_await() const noexcept {
    struct Call {
      std::coroutine_handle<promise_type> callee;
      bool await_ready() noexcept { return false; }
      std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept {
        callee.promise().caller = caller;
        return callee;
      }
      T await_resume() noexcept { return callee.promise().take(); }
    };
    return Call{handle_};
  }

 private:
  explicit Steps(std::coroutine_handle<promise_type> handle) noexcept : handle_(handle) {}
  std::coroutine_handle<promise_type> handle_;
};

// A place in the memory of a Machine.
struct Cell {
  std::uint8_t index = 0;
};

enum class Access : std::uint8_t {
  kLoad,
  kStore,
  kExchange,
  kAdd,
  kCompareExchange,
  kFence,
  kBarrier,
  kLock,
  kWaitUntil,
  kWaitWhile,
  kFutex
};

struct Step {
  Access access = Access::kFence;
  Cell cell{};
  Cell other{};
  int value = 0;
  int expected = 0;
  std::memory_order order = kSeqCst;
};

class Thread {
 public:
  struct Taken {
    Thread& thread;
    Step step;
    bool await_ready() noexcept;
    void await_suspend(std::coroutine_handle<> where) noexcept;
    int await_resume() noexcept { return thread.result_; }
  };

  Taken load(Cell cell, std::memory_order order) {
    return take({.access = Access::kLoad, .cell = cell, .order = order});
  }
  Taken store(Cell cell, int value, std::memory_order order) {
    return take({.access = Access::kStore, .cell = cell, .value = value, .order = order});
  }
  // These give the value before; compare_exchange whether it was the expected one.
  Taken exchange(Cell cell, int value, std::memory_order order) {
    return take({.access = Access::kExchange, .cell = cell, .value = value, .order = order});
  }
  Taken fetch_add(Cell cell, int value, std::memory_order order) {
    return take({.access = Access::kAdd, .cell = cell, .value = value, .order = order});
  }
  Taken compare_exchange(Cell cell, int expected, int value, std::memory_order order) {
    return take(
        {.access = Access::kCompareExchange, .cell = cell, .value = value, .expected = expected, .order = order});
  }
  // atomic_thread_fence(seq_cst).
  Taken fence() { return take({.access = Access::kFence}); }
  // membarrier(2), after a fence(): goes on once every other thread's buffer has been empty at some time since it began. Of a
  // machine with `stores_are_steps` only: when a store enters its buffer then matters.
  Taken barrier() { return take({.access = Access::kBarrier}); }
  // A spinlock, 0 when free. What it guards may be had by Machine::value(), without a step of its own.
  Taken lock(Cell cell) { return take({.access = Access::kLock, .cell = cell, .value = 1, .order = kAcquire}); }
  Taken unlock(Cell cell) { return store(cell, 0, kRelease); }
  // In the kernel: sleeps until the cell has the value, or another one.
  Taken wait_until(Cell cell, int value) { return take({.access = Access::kWaitUntil, .cell = cell, .value = value}); }
  Taken wait_while(Cell cell, int value) { return take({.access = Access::kWaitWhile, .cell = cell, .value = value}); }
  // The first half of FUTEX_WAIT: if the cell has the expected value, `sleeper` becomes 1 in the same step, and the result is 1.
  Taken futex_enlist(Cell cell, int expected, Cell sleeper) {
    return take({.access = Access::kFutex, .cell = cell, .other = sleeper, .value = 1, .expected = expected});
  }

  // What this thread sees of a cell that no other thread writes; no step.
  [[nodiscard]] int mine(Cell cell) const noexcept;
  // What it does from here on depends on nothing it has read before but `locals`, which makes fewer states of more.
  void settle(int locals) noexcept;
  // That it waits when nothing else can happen is no failure.
  void may_wait_forever() noexcept { may_wait_ = true; }
  [[nodiscard]] bool ended() const noexcept { return root_.handle().done(); }
  [[nodiscard]] Machine& machine() const noexcept { return machine_; }

  Thread(Machine& machine, const char* name, unsigned index) noexcept
      : machine_(machine), name_(name), index_(index), history_(index) {}

 private:
  friend class Machine;
  struct Stored {
    Cell cell;
    int value;
    bool release;
  };
  Taken take(Step step) noexcept { return Taken{*this, step}; }
  [[nodiscard]] int sees(Cell cell) const noexcept;
  [[nodiscard]] bool holds_back(Cell cell) const noexcept;

  Machine& machine_;
  const char* const name_;
  const unsigned index_;
  Steps<> root_;
  std::coroutine_handle<> at_;  // where it goes on after next_
  Step next_;
  int result_ = 0;
  std::uint64_t history_;
  std::vector<Stored> buffer_;
  unsigned barrier_waits_for_ = 0;  // threads by bit, while next_ is a barrier
  bool may_wait_ = false;
};

class Machine {
 public:
  explicit Machine(Memory memory) noexcept : memory_(memory) {}
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  // For the model. Names are literals.
  Cell cell(const char* name, int value = 0);
  template <typename Body>
  Thread& thread(const char* name, Body body) {
    const auto kept = std::make_shared<Body>(std::move(body));
    kept_.push_back(kept);
    threads_.push_back(std::make_unique<Thread>(*this, name, static_cast<unsigned>(threads_.size())));
    threads_.back()->root_ = (*kept)(*threads_.back());
    return *threads_.back();
  }
  // Lives as long as the machine, so that coroutines may refer to it. What changes in it belongs into cells.
  template <typename Model, typename... Args>
  Model& keep(Args&&... args) {
    const auto kept = std::make_shared<Model>(std::forward<Args>(args)...);
    kept_.push_back(kept);
    return *kept;
  }
  void stores_are_steps() noexcept { stores_are_steps_ = true; }
  // Runs where nothing can happen any more.
  void at_end(std::function<void()> check) { at_end_ = std::move(check); }

  // Memory without a step: what a lock guards, and what the model counts for itself.
  int& value(Cell cell) noexcept { return values_[cell.index]; }
  void expect(bool holds, const char* otherwise) {
    if (!holds && failure_.empty()) failure_ = otherwise;
  }
  // A line of the trace, from within a thread.
  void note(const Thread& thread, const char* what, int value);

  // For explore().
  using Choice = std::uint16_t;  // the thread, and 0 for its next step or which of its stores reaches memory
  void start();
  [[nodiscard]] std::vector<Choice> choices() const;
  void choose(Choice choice);
  void end();  // where there is no choice
  [[nodiscard]] std::uint64_t hash() const noexcept;
  [[nodiscard]] const std::string& failure() const noexcept { return failure_; }
  void keep_trace() noexcept { traced_ = true; }
  [[nodiscard]] const std::vector<std::string>& trace() const noexcept { return trace_; }

 private:
  friend class Thread;
  [[nodiscard]] bool can_go(const Thread& thread) const noexcept;
  [[nodiscard]] bool buffered(const Step& step) const noexcept;
  void go(Thread& thread);
  void reach_memory(Thread& thread, std::size_t position);
  void write(Thread& thread, const Step& step);
  void began_waiting(Thread& thread) noexcept;
  void record(const Thread& thread, const Step& step);

  const Memory memory_;
  bool stores_are_steps_ = false;
  bool traced_ = false;
  std::vector<int> values_;
  std::vector<const char*> names_;
  std::vector<std::shared_ptr<void>> kept_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::function<void()> at_end_;
  std::string failure_;
  std::vector<std::string> trace_;
};

struct Exploration {
  std::size_t states = 0;
  std::size_t steps = 0;
  std::string failure;             // empty: none in any interleaving
  std::vector<std::string> trace;  // of a shortest failure
};

// `build` puts cells and threads into a fresh machine, always the same.
Exploration explore(Memory memory, const std::function<void(Machine&)>& build, std::size_t most_states = 400'000);

// One line on stdout, and the trace below it when there is one.
void print(const char* name, const Exploration& exploration);

}  // namespace weft::sched::model
