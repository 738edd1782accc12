#include "sched/runtime.h"

#include "sched/scheduler.h"

namespace weft::sched {

Runtime::Runtime(std::unique_ptr<Scheduler> scheduler) noexcept : scheduler_(std::move(scheduler)) {}
Runtime::Runtime(Runtime&& other) noexcept = default;
Runtime::~Runtime() {
  // Its threads cannot be ended where they are not, so all it had stays: a child that returns from main() comes here.
  if (scheduler_ != nullptr && scheduler_->left_behind()) (void)scheduler_.release();
}

Result<Runtime> Runtime::create(const Options& options) {
  return Runtime(TRY(Scheduler::create({.name = options.name,
                                        .workers = options.workers,
                                        .stack_bytes = options.stack_bytes,
                                        .stack_memory = options.stack_memory,
                                        .use_io_uring = options.use_io_uring,
                                        .open_files_only = options.open_files_only,
                                        .idle_spin = options.idle_spin,
                                        .overflow_report = options.overflow_report,
                                        .measure_latencies = options.measure_latencies,
                                        .deadlock_report = options.deadlock_report,
                                        .hog_limit = options.hog_limit,
                                        .on_hog = options.on_hog,
                                        .pin_workers = options.pin_workers,
                                        .simulated = false,
                                        .max_file_requests = options.max_file_requests,
                                        .network = options.network})));
}

Fiber Runtime::spawn(std::string_view name, Body body) { return Fiber(scheduler_->spawn(name, std::move(body))); }

Fiber Runtime::spawn_pinned(unsigned worker_index, std::string_view name, Body body) {
  return Fiber(scheduler_->spawn(name, std::move(body), static_cast<int>(worker_index)));
}

Fiber Runtime::spawn(const SpawnOptions& options, Body body) {
  return Fiber(scheduler_->spawn(options, std::move(body)));
}

unsigned Runtime::worker_count() const noexcept { return scheduler_->worker_count(); }
RuntimeReport Runtime::report(const ReportOptions& options) const { return scheduler_->report(options); }
Status Runtime::start_trace(const TraceOptions& options) { return scheduler_->start_trace(options); }
Result<std::string> Runtime::stop_trace() { return scheduler_->stop_trace(); }

}  // namespace weft::sched
