// sched/runtime.h - threads that run fibers, for as long as the object lives.
//
//   auto runtime = TRY(sched::Runtime::create({.workers = 2}));
//   int answer = runtime.block_on([] { return compute_on_fibers(); });
//
// Several may live in one process, each with its own workers; fibers of different runtimes and plain threads may share mutexes,
// channels and the rest. The destructor asks fibers that still live to stop, waits for them, and then ends the workers; call
// it from a plain thread. In the child of a fork a runtime of its parent is refused with its name, and its destructor does
// nothing; a child may make its own.
// Workers block SIGPIPE, since one system call may write for many fibers: a write that nobody reads fails with EPIPE.
// Tests: tests/sched/runtime_test.cc.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

#include "kernel/result.h"
#include "sched/body.h"
#include "sched/hog.h"
#include "sched/inspect.h"
#include "sched/scheduling.h"
#include "sched/spawn.h"
#include "sched/stack_memory.h"
#include "sched/trace.h"

namespace weft::sched {

class Scheduler;
namespace io {
class Network;
}

class Runtime {
 public:
  struct Options {
    std::string name = "weft";             // of its threads, for people
    unsigned workers = 0;                  // 0: one for each CPU this process may use
    std::size_t stack_bytes = 128 * 1024;  // of each fiber; memory is used as deep as it is touched
    StackMemory stack_memory{};            // where stacks lie; the default: where the kernel maps them
    bool use_io_uring = true;              // false, or none to be had: I/O goes through threads, slower
    bool open_files_only = false;          // Uring::Options::open_descriptors_only, for all of its rings
    // Reads, writes and flushes of files in flight at once, over all workers; who comes later parks. 0: as many as come.
    std::uint32_t max_file_requests = 0;
    io::Network* network = nullptr;  // what sockets are connected by; null: the kernel. It must outlive the runtime
    // A worker with nothing to do looks about for so long before it sleeps, since a sleep and its wake cost 40-140 us; it
    // yields to other threads meanwhile. One that reads and writes files and waits for nothing else sleeps at once. Zero saves the power.
    std::chrono::nanoseconds idle_spin{30'000};
    // A fiber that holds its worker for longer while others wait is reported, see hog.h; zero: none is. To `on_hog`, or the log.
    std::chrono::nanoseconds hog_limit = std::chrono::seconds(1);
    HogHandler on_hog{};
    bool pin_workers = false;  // worker I stays on the Ith of this process's CPUs: for machines that do nothing else
    OverflowReport overflow_report = OverflowReport::kUnlessHandled;
    // Reports then have the times from ready to running and of slices; a switch costs about 50 ns more.
    bool measure_latencies = false;
    // When all fibers have waited for each other for so long, a report with backtraces goes to standard error, once until
    // something runs again. Zero: never.
    std::chrono::nanoseconds deadlock_report{0};
  };

  // kAgain at a limit of threads; kNoMemory, kIo when rings cannot be made.
  static Result<Runtime> create(const Options& options);
  static Result<Runtime> create() { return create(Options{}); }
  Runtime(Runtime&& other) noexcept;
  Runtime& operator=(Runtime&&) = delete;
  ~Runtime();

  // From any thread or fiber.
  Fiber spawn(std::string_view name, Body body);
  Fiber spawn_pinned(unsigned worker_index, std::string_view name, Body body);
  Fiber spawn(const SpawnOptions& options, Body body);
  // Runs `f` on a fiber and waits for it; its result, or what it throws. From a plain thread or a fiber.
  template <typename F>
  std::invoke_result_t<F&> block_on(F&& f) {
    using R = std::invoke_result_t<F&>;
    if constexpr (std::is_void_v<R>) {
      spawn("block_on", [&] { f(); }).join();
    } else {
      std::optional<R> result;
      spawn("block_on", [&] { result.emplace(f()); }).join();
      return *std::move(result);
    }
  }

  [[nodiscard]] unsigned worker_count() const noexcept;
  [[nodiscard]] RuntimeReport report(const ReportOptions& options = {}) const;
  // trace.h. kBusy: one is being taken.
  Status start_trace(const TraceOptions& options = {});
  // The trace as JSON. kInvalid: none was begun.
  Result<std::string> stop_trace();

 private:
  explicit Runtime(std::unique_ptr<Scheduler> scheduler) noexcept;
  std::unique_ptr<Scheduler> scheduler_;
};

}  // namespace weft::sched
