// sched/scheduler.h - what the workers of one runtime share: who is idle, what came from outside, which fibers live. Internal.
//
// Wake protocol (Tokio's idle.rs is the model): one word counts sleeping and searching workers. Whoever queues a fiber wakes
// a sleeper only if nobody searches; the last searcher to find something wakes the next.
//
// Locks        idle_lock_, close_lock_, watch_lock_: leaves
// Tests: tests/sched/runtime_test.cc, stress_test.cc.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "kernel/result.h"
#include "sched/asymmetric_fence.h"
#include "sched/classes.h"
#include "sched/fiber.h"
#include "sched/fiber_pool.h"
#include "sched/fork_deque.h"
#include "sched/hog.h"
#include "sched/injector.h"
#include "sched/inspect.h"
#include "sched/io_limit.h"
#include "sched/observer.h"
#include "sched/overflow.h"
#include "sched/runtimes.h"
#include "sched/stack.h"
#include "sched/trace.h"
#include "sched/worker.h"

namespace weft::sched {

class HogWatch;
class OffloadPool;
namespace io {
class FileSystem;
class Network;
}  // namespace io

struct SchedulerOptions {
  std::string name = "weft";
  unsigned workers = 0;  // 0: one for each CPU this process may use
  std::size_t stack_bytes = 128 * 1024;
  StackMemory stack_memory{};
  bool use_io_uring = true;
  bool open_files_only = false;
  std::chrono::nanoseconds idle_spin{30'000};
  OverflowReport overflow_report = OverflowReport::kOff;
  bool measure_latencies = false;
  std::chrono::nanoseconds deadlock_report{0};
  std::chrono::nanoseconds hog_limit{0};
  HogHandler on_hog;
  bool pin_workers = false;
  bool simulated = false;
  std::uint32_t max_file_requests = 0;
  io::Network* network = nullptr;
  io::FileSystem* files = nullptr;  // of a Simulation
};

class Scheduler {
 public:
  static Result<std::unique_ptr<Scheduler>> create(const SchedulerOptions& options);
  // Asks all living fibers to stop and waits for their end, then ends the workers.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // From any thread or fiber. The caller owns one reference.
  FiberState* spawn(std::string_view name, Body&& body, int worker_index = -1,
                    const SpawnOptions* scheduling = nullptr);
  FiberState* spawn(const SpawnOptions& options, Body&& body);
  // A fiber whose wait has ended, from any thread or fiber.
  void make_ready(FiberState* fiber) noexcept;
  // Queued work that any worker may do: somebody should be awake for it.
  void notify_one() noexcept {
    // Either we see the sleeper or the sleeper sees what was queued (R2 in worker.h). A searcher that has just found something else
    // may be seen and see nothing: then the caller, who is awake, comes to it, or the watchdog tells another.
    light_fence();
    const std::uint32_t idle = idle_.load(std::memory_order_relaxed);
    if (idle >> 16 == 0 && (idle & 0xFFFF) != 0) [[unlikely]]
      wake_a_sleeper();
  }

  // The same for what the caller does not come to himself: seen also by a worker that sleeps for a device (R2).
  void notify_from_outside() noexcept {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    notify_one();
  }

  // The same for what was spawned or forked, which its own worker comes to by itself: not while others are drowsy (worker_search.cc).
  void notify_of_spawned() noexcept {
    light_fence();
    const std::uint32_t idle = idle_.load(std::memory_order_relaxed);
    if (idle >> 16 == 0 && (idle & 0xFFFF) != 0 && !drowsy_.load(std::memory_order_relaxed)) [[unlikely]]
      wake_a_sleeper();
  }

  [[nodiscard]] std::int64_t now_ns() const noexcept;
  [[nodiscard]] unsigned worker_count() const noexcept { return static_cast<unsigned>(workers_.size()); }
  [[nodiscard]] Worker& worker(unsigned index) noexcept { return *workers_[index]; }
  [[nodiscard]] const SchedulerOptions& options() const noexcept { return options_; }
  // How many fibers have not ended. Zero is certain: nothing lived at some moment of the call.
  [[nodiscard]] std::uint64_t live() const noexcept;
  OffloadPool& offload() noexcept { return *offload_; }
  IoLimit& file_limit() noexcept { return file_limit_; }
  Classes& classes() noexcept { return classes_; }
  // This is the child of a fork, and the threads are the parent's.
  [[nodiscard]] bool left_behind() const noexcept { return left_behind_; }

  void request_stop_all() noexcept;
  void request_stop_of(FunctionRef<bool(FiberState&)> which) noexcept;
  [[nodiscard]] RuntimeReport report(const ReportOptions& options) const;
  Status start_trace(const TraceOptions& options);
  Result<std::string> stop_trace();
  // Simulation only.
  void set_virtual_time(std::int64_t at_ns) noexcept { virtual_ns_ = at_ns; }
  void use_network(io::Network& network) noexcept { options_.network = &network; }
  void use_files(io::FileSystem& files) noexcept { options_.files = &files; }

 private:
  friend class Worker;
  friend struct DebugLayoutMaker;
  friend void list_runtime(Scheduler& scheduler) noexcept;
  friend void unlist_runtime(Scheduler& scheduler) noexcept;
  friend bool leave_runtimes_behind() noexcept;
  friend void for_each_runtime(FunctionRef<void(const Scheduler&)> visit);
  // Added to each stack, so that a fiber may run above the one that joins it and have a whole stack (Worker::run_inline()).
  static constexpr std::size_t kJoinRoomBytes = 32 * 1024;
  static constexpr std::uint32_t kSearchingOne = 1U << 16;  // idle_: searching in the high half, sleeping in the low

  explicit Scheduler(const SchedulerOptions& options);
  Status start_watchdog();
  void watch();
  void look_for_hog(HogWatch& hogs, Worker& worker);
  [[nodiscard]] Worker* home_of(FiberState& fiber) noexcept;  // where it must run, now that it is ready; null: anywhere
  Worker* choose_home(FiberState& fiber, Worker& last) noexcept;
  void restrict(FiberState& fiber, std::span<const unsigned> workers);
  void queue_classed(FiberState* fiber, bool came) noexcept;    // Classes::push(), and a worker that is awake for it
  static void ended(FiberState* fiber, Worker& here) noexcept;  // by the worker that ran it
  void tell_closer() noexcept;
  void wait_for_stack(FiberState& fiber, const Error& why) noexcept;
  void stack_came_back() noexcept;
  void look_for_deadlock(std::uint64_t switches);
  void wake_a_sleeper() noexcept;
  ForkDeque* make_forks();
  bool begin_search() noexcept;
  bool end_search() noexcept;  // true: was the last one
  void list_idle(Worker& worker, bool was_searching) noexcept;
  bool unlist_idle(Worker& worker) noexcept;  // false: somebody took it out and counted it as searching
  [[nodiscard]] bool work_visible() const noexcept;

  SchedulerOptions options_;  // as made, but for the network and files of a Simulation
  StackDepot stacks_;
  OverflowWatch overflow_watch_;
  FiberPool::Owner pool_ = FiberPool::create(this);
  std::unique_ptr<OffloadPool> offload_;
  IoLimit file_limit_{options_.max_file_requests};
  std::mutex forks_lock_;
  std::vector<std::unique_ptr<ForkDeque>> forks_;  // all there are, used or free; guarded by forks_lock_
  std::vector<std::unique_ptr<Worker>> workers_;
  Injector injector_;
  Injector stackless_;  // fibers that cannot begin until a stack comes back
  std::atomic<std::uint64_t> stackless_count_{0};
  mutable Classes classes_;  // a report takes its lock
  alignas(64) std::atomic<std::uint32_t> idle_{0};
  std::atomic<bool> drowsy_{
      false};  // to take what was spawned has not been worth it of late; until the watchdog's next look
  Spinlock idle_lock_;
  std::vector<Worker*> idle_workers_;  // guarded by idle_lock_
  std::atomic<std::uint64_t> next_id_{1};
  std::atomic<std::uint64_t> spawned_outside_{0};
  std::atomic<std::uint64_t> outside_{0};  // threads that are inside make_ready() or spawn() from outside
  std::atomic<bool> closing_{false};       // the destructor waits for the last fiber's end
  std::mutex close_lock_;
  std::condition_variable close_wake_;
  std::atomic<bool> stopping_{false};
  std::int64_t virtual_ns_ = 0;

  bool left_behind_ = false;           // changes in fork() only
  const char* debug_name_ = nullptr;   // for a debugger
  Scheduler* next_runtime_ = nullptr;  // guarded by the lock in runtimes.cc
  std::mutex trace_lock_;
  bool tracing_ = false;              // guarded by trace_lock_
  Observer outside_observer_{false};  // of threads that are no workers of this
  std::uint64_t still_switches_ = 0;  // the watchdog's own: all workers' sum, and since when it is the same
  std::int64_t still_since_ns_ = 0;
  bool deadlock_reported_ = false;

  std::thread watchdog_;
  std::mutex watch_lock_;
  std::condition_variable watch_wake_;
  bool watch_stop_ = false;  // guarded by watch_lock_
  std::atomic<bool> watch_asleep_{false};
};

}  // namespace weft::sched
