#include "sched/simulation.h"

#include "kernel/check.h"
#include "sched/current.h"
#include "sched/scheduler.h"
#include "sched/simulated_order.h"
#include "sched/spawn.h"

namespace weft::sched {
namespace {

constexpr std::int64_t kWallStartSeconds = 946'684'800;  // 2000-01-01 UTC

}  // namespace

struct Simulation::Impl final : Clock {
  explicit Impl(std::uint64_t seed) : order(seed) {}

  [[nodiscard]] std::chrono::nanoseconds monotonic() const noexcept override {
    return std::chrono::nanoseconds(scheduler->now_ns());
  }
  [[nodiscard]] Timespec wall() const noexcept override {
    const std::int64_t at = scheduler->now_ns();
    return {kWallStartSeconds + at / 1'000'000'000, static_cast<std::uint32_t>(at % 1'000'000'000)};
  }

  std::unique_ptr<Scheduler> scheduler;
  SimulatedOrder order;
  bool ran = false;
};

Simulation::Simulation(std::uint64_t seed) : impl_(std::make_unique<Impl>(seed)) {
  SchedulerOptions options;
  options.name = "simulation";
  options.simulated = true;
  auto made = Scheduler::create(options);
  WEFT_CHECK(made.has_value());  // makes no threads and no ring
  impl_->scheduler = std::move(*made);
}

Simulation::~Simulation() {
  if (impl_->scheduler->live() != 0) (void)impl_->scheduler.release();  // a live fiber is never destroyed
}

Status Simulation::run(std::move_only_function<void()> main) {
  WEFT_CHECK(!impl_->ran && current_worker() == nullptr);
  impl_->ran = true;
  simulations_running.fetch_add(1, std::memory_order_relaxed);
  Fiber(impl_->scheduler->spawn("main", std::move(main))).detach();
  Worker& worker = impl_->scheduler->worker(0);
  Status status = worker.run_simulated(impl_->order);
  if (!status) {
    set_current_worker(&worker);  // so that those it resumes are queued there
    impl_->scheduler->request_stop_all();
    (void)worker.run_simulated(impl_->order);
  }
  simulations_running.fetch_sub(1, std::memory_order_relaxed);
  return status;
}

void Simulation::use_network(io::Network& network) noexcept { impl_->scheduler->use_network(network); }
void Simulation::use_files(io::FileSystem& files) noexcept { impl_->scheduler->use_files(files); }
Clock& Simulation::clock() noexcept { return *impl_; }
const std::string& Simulation::trace() const noexcept { return impl_->order.trace; }

void Simulation::note(std::string_view text) {
  Worker* worker = current_worker();
  if (worker != nullptr && worker->simulated()) worker->order()->note(worker->scheduler().now_ns(), text);
}

}  // namespace weft::sched
