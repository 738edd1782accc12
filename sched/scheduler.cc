#include "sched/scheduler.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>

#include "kernel/check.h"
#include "sched/after_fork.h"
#include "sched/asymmetric_fence.h"
#include "sched/current.h"
#include "sched/fiber_extras.h"
#include "sched/hog_watch.h"
#include "sched/offload.h"
#include "sched/probes.h"
#include "sched/scheduling.h"
#include "sched/start_thread.h"

namespace weft::sched {
namespace {

constexpr auto kWatchPeriod = std::chrono::milliseconds(5);
constexpr int kQuietPeriodsBeforeSleep = 20;

std::int64_t monotonic_ns() noexcept {
  timespec at{};
  clock_gettime(CLOCK_MONOTONIC, &at);
  return at.tv_sec * 1'000'000'000 + at.tv_nsec;
}

unsigned usable_cpus() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
}

// The calling thread to the one of its CPUs that comes at that place. What the system refuses is not an error: it is for speed.
void pin_to_cpu(unsigned place) noexcept {
  cpu_set_t allowed;
  CPU_ZERO(&allowed);
  if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
  auto left = static_cast<int>(place % static_cast<unsigned>(std::max(1, CPU_COUNT(&allowed))));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &allowed) || left-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
}

}  // namespace

std::chrono::nanoseconds now() noexcept {
  Worker* worker = current_worker();
  return std::chrono::nanoseconds(worker != nullptr ? worker->scheduler().now_ns() : monotonic_ns());
}

Scheduler::Scheduler(const SchedulerOptions& options)
    : options_(options),
      stacks_(options.stack_bytes + kJoinRoomBytes, options.stack_memory),
      overflow_watch_(options.overflow_report),
      offload_(std::make_unique<OffloadPool>()),
      debug_name_(options_.name.c_str()) {}

Result<std::unique_ptr<Scheduler>> Scheduler::create(const SchedulerOptions& options) {
  prepare_asymmetric_fences();
  std::unique_ptr<Scheduler> made(new Scheduler(options));
  const unsigned count = options.simulated ? 1 : (options.workers != 0 ? options.workers : usable_cpus());
  for (unsigned i = 0; i < count; ++i)
    made->workers_.push_back(std::make_unique<Worker>(*made, *made->pool_, i, count == 1));
  made->idle_workers_.reserve(count);
  if (options.measure_latencies)
    for (auto& worker : made->workers_) worker->observe_with(std::make_unique<Observer>(true));
  if (options.simulated) {
    list_runtime(*made);
    return made;
  }

  // Each worker makes its ring on its own thread, as a single-issuer ring wants it.
  std::mutex lock;
  std::condition_variable changed;
  unsigned reported = 0;
  bool go = false;
  bool give_up = false;
  Status first_error;
  unsigned begun = 0;
  for (auto& worker : made->workers_) {
    auto thread = start_thread("a worker thread", [&, w = worker.get()] {
      pthread_setname_np(pthread_self(), (options.name.substr(0, 10) + "-w" + std::to_string(w->index())).c_str());
      auto started = w->start_on_this_thread();
      if (options.pin_workers) pin_to_cpu(w->index());
      std::unique_lock guard(lock);
      if (!started && first_error) first_error = started;
      ++reported;
      changed.notify_all();
      changed.wait(guard, [&] { return go || give_up; });
      const bool leave = give_up;
      --reported;
      changed.notify_all();
      guard.unlock();
      if (!leave) w->run();
    });
    if (!thread) {
      const std::lock_guard guard(lock);
      first_error = fail(std::move(thread).error());
      break;
    }
    worker->thread = *std::move(thread);
    ++begun;
  }
  {
    std::unique_lock guard(lock);
    changed.wait(guard, [&] { return reported == begun; });
    go = first_error.has_value();
    give_up = !go;
    changed.notify_all();
    changed.wait(guard, [&] { return reported == 0; });  // they are done with our locals
  }
  if (!first_error) {
    made->stopping_.store(true);
    return fail(std::move(first_error).error());
  }
  TRY(made->start_watchdog());
  watch_for_forks();
  list_runtime(*made);
  return made;
}

Scheduler::~Scheduler() {
  Worker* here = current_worker();
  WEFT_CHECK(here == nullptr || &here->scheduler() != this);
  unlist_runtime(*this);
  if (!options_.simulated) {
    closing_.store(true, std::memory_order_seq_cst);
    // Asked again from time to time: a fiber may have been started meanwhile, or the last to end not have seen closing_ yet.
    request_stop_all();
    std::unique_lock guard(close_lock_);
    while (live() != 0) {
      if (close_wake_.wait_for(guard, std::chrono::milliseconds(5)) != std::cv_status::timeout) continue;
      guard.unlock();
      request_stop_all();
      guard.lock();
    }
  }
  offload_.reset();
  while (outside_.load(std::memory_order_acquire) != 0) sched_yield();
  if (watchdog_.joinable()) {
    {
      const std::lock_guard guard(watch_lock_);
      watch_stop_ = true;
    }
    watch_wake_.notify_all();
    watchdog_.join();
  }
  stopping_.store(true, std::memory_order_release);
  for (auto& worker : workers_)
    if (worker->reactor_ != nullptr) worker->wake();
  for (auto& worker : workers_)
    if (worker->thread.joinable()) worker->thread.join();
}

// --- Fibers in and out ----------------------------------------------------------------------------------------------

FiberState* Scheduler::spawn(const SpawnOptions& options, Body&& body) {
  return spawn(options.name, std::move(body), options.worker ? static_cast<int>(*options.worker) : -1, &options);
}

FiberState* Scheduler::spawn(std::string_view name, Body&& body, int worker_index, const SpawnOptions* scheduling) {
  Worker* here = current_worker();
  const bool inside = here != nullptr && &here->scheduler() == this;
  FiberState* fiber = nullptr;
  if (inside) [[likely]] {
    fiber = here->new_fiber();
  } else {
    if (forked_with_runtimes) [[unlikely]]
      refuse_if_left_behind(this);
    pool_->take({&fiber, 1});
    fiber->id = next_id_.fetch_add(1, std::memory_order_relaxed);
  }
  fiber->begin(name, std::move(body));
  if (worker_index >= 0) {
    WEFT_CHECK(static_cast<unsigned>(worker_index) < worker_count());
    fiber->pinned.store(workers_[static_cast<std::size_t>(worker_index)].get(), std::memory_order_relaxed);
  }
  const FiberState* parent = inside ? here->current() : nullptr;
  if (scheduling != nullptr || (parent != nullptr && parent->classed)) [[unlikely]]
    fiber->begin_scheduling(parent, scheduling, classes_.serial());
  if (scheduling != nullptr && !scheduling->workers.empty()) [[unlikely]]
    restrict(*fiber, scheduling->workers);
  if (inside) [[likely]] {
    here->push_spawned(fiber);
    return fiber;
  }
  spawned_outside_.fetch_add(1, std::memory_order_relaxed);
  if (options_.simulated) {
    workers_[0]->simulated_ready_.push_back(fiber);
  } else {
    make_ready(fiber);
  }
  return fiber;
}

void Scheduler::ended(FiberState* fiber, Worker& here) noexcept {
  fiber->finish();
  fiber->unref();
  here.count_ended();
}

std::uint64_t Scheduler::live() const noexcept {
  // The ends first: both only grow, and who spawned is counted before what was spawned can end.
  std::uint64_t ended = 0;
  for (const auto& worker : workers_) ended += worker->ended_count_.load(std::memory_order_acquire);
  std::uint64_t spawned = spawned_outside_.load(std::memory_order_acquire);
  for (const auto& worker : workers_) spawned += worker->spawned_.load(std::memory_order_acquire);
  return spawned - ended;
}

void Scheduler::tell_closer() noexcept {
  const std::lock_guard guard(close_lock_);
  close_wake_.notify_all();
}

void Scheduler::make_ready(FiberState* fiber) noexcept {
  Worker* here = current_worker();
  if (here != nullptr && &here->scheduler() == this) {
    here->make_ready(fiber);
    return;
  }
  if (forked_with_runtimes) [[unlikely]]
    refuse_if_left_behind(this);
  WEFT_PROBE1(wake, fiber->id);
  // Once it is queued, the fiber may run, end, and with it the runtime: whose destructor waits for this count.
  outside_.fetch_add(1, std::memory_order_acq_rel);
  if (outside_observer_.tracing() || options_.measure_latencies) [[unlikely]]
    outside_observer_.becomes_ready(*fiber, TraceKind::kWake, nullptr, now_ns());
  fiber->phase.store(FiberPhase::kQueued, std::memory_order_relaxed);
  if (fiber->classed) [[unlikely]] {
    queue_classed(fiber, true);
  } else if (Worker* home = home_of(*fiber)) {
    home->post(fiber);
  } else {
    injector_.push(fiber);
    notify_from_outside();
  }
  outside_.fetch_sub(1, std::memory_order_acq_rel);
}

Worker* Scheduler::home_of(FiberState& fiber) noexcept {
  Worker* home = fiber.pinned.load(std::memory_order_relaxed);
  return home != nullptr && fiber.has_extras ? choose_home(fiber, *home) : home;
}

// A fiber of several workers is bound to one of them each time it is made ready, so that nothing but this knows of sets, and a
// fiber that may run anywhere pays nothing. To one that has nothing to do; else to this one; else where it was.
Worker* Scheduler::choose_home(FiberState& fiber, Worker& last) noexcept {
  if (!fiber.extras->roams) return &last;
  Worker* chosen = &last;
  for (const unsigned index : fiber.extras->workers) {
    Worker* worker = workers_[index].get();
    if (worker->looks_free()) {
      chosen = worker;
      break;
    }
    if (worker == current_worker()) chosen = worker;
  }
  fiber.pinned.store(chosen, std::memory_order_relaxed);
  return chosen;
}

void Scheduler::restrict(FiberState& fiber, std::span<const unsigned> workers) {
  for (const unsigned index : workers) WEFT_CHECK(index < worker_count());
  WEFT_CHECK(fiber.pinned.load(std::memory_order_relaxed) == nullptr);
  FiberExtras& extras = FiberExtras::of(fiber);
  extras.workers.assign(workers.begin(), workers.end());
  extras.roams = true;
  fiber.pinned.store(workers_[workers.front()].get(), std::memory_order_relaxed);
}

void Scheduler::queue_classed(FiberState* fiber, bool came) noexcept {
  Worker* home = home_of(*fiber);
  classes_.push(fiber, home != nullptr ? static_cast<int>(home->index()) : LanedQueue::kAnyWorker, came);
  if (home == nullptr) {
    notify_from_outside();
  } else if (home != current_worker()) {
    home->wake();
  }
}

void Scheduler::request_stop_all() noexcept {
  pool_->for_each([](FiberState& fiber) { fiber.request_stop(); });
}

void Scheduler::request_stop_of(FunctionRef<bool(FiberState&)> which) noexcept {
  pool_->for_each([&](FiberState& fiber) {
    if (which(fiber)) fiber.request_stop();
  });
}

std::int64_t Scheduler::now_ns() const noexcept { return options_.simulated ? virtual_ns_ : monotonic_ns(); }

// --- Who is awake ---------------------------------------------------------------------------------------------------

bool Scheduler::begin_search() noexcept {
  const std::uint32_t searching = idle_.load(std::memory_order_relaxed) >> 16;
  if (searching != 0 && 2 * (searching + 1) > worker_count()) return false;
  idle_.fetch_add(kSearchingOne, std::memory_order_acq_rel);
  return true;
}

bool Scheduler::end_search() noexcept { return idle_.fetch_sub(kSearchingOne, std::memory_order_acq_rel) >> 16 == 1; }

void Scheduler::list_idle(Worker& worker, bool was_searching) noexcept {
  const std::lock_guard guard(idle_lock_);
  idle_workers_.push_back(&worker);
  idle_.fetch_add(was_searching ? 1 - kSearchingOne : 1, std::memory_order_acq_rel);
}

bool Scheduler::unlist_idle(Worker& worker) noexcept {
  const std::lock_guard guard(idle_lock_);
  const auto found = std::find(idle_workers_.begin(), idle_workers_.end(), &worker);
  if (found == idle_workers_.end()) return false;
  idle_workers_.erase(found);
  idle_.fetch_sub(1, std::memory_order_acq_rel);
  return true;
}

ForkDeque* Scheduler::make_forks() {
  auto made = std::make_unique<ForkDeque>();
  ForkDeque* forks = made.get();
  const std::lock_guard guard(forks_lock_);
  forks_.push_back(std::move(made));
  return forks;
}

void Scheduler::wake_a_sleeper() noexcept {
  Worker* chosen = nullptr;
  {
    const std::lock_guard guard(idle_lock_);
    if (idle_workers_.empty()) return;
    chosen = idle_workers_.back();
    idle_workers_.pop_back();
    idle_.fetch_add(kSearchingOne - 1, std::memory_order_acq_rel);
  }
  if (Worker* here = current_worker(); here != nullptr) Worker::bump(here->wakes_sent_);
  chosen->wake();
  if (watch_asleep_.load(std::memory_order_relaxed) && watch_asleep_.exchange(false)) watch_wake_.notify_all();
}

bool Scheduler::work_visible() const noexcept {
  if (!injector_.empty() || classes_.has_any()) return true;
  const bool drowsy = drowsy_.load(std::memory_order_relaxed);
  return std::any_of(workers_.begin(), workers_.end(),
                     [&](const auto& worker) { return worker->has_woken() || (!drowsy && worker->has_spawned()); });
}

// --- The watchdog: what waits behind a fiber that does not let go is given to an idle worker ------------------------

Status Scheduler::start_watchdog() {
  if (worker_count() < 2 && options_.deadlock_report.count() == 0 && options_.hog_limit.count() <= 0) return {};
  watchdog_ = TRY(start_thread("the watchdog's thread", [this] {
    pthread_setname_np(pthread_self(), (options_.name.substr(0, 9) + "-watch").c_str());
    watch();
  }));
  return {};
}

void Scheduler::watch() {
  std::vector<std::uint64_t> seen(worker_count(), 0);
  HogWatch hogs(options_.hog_limit, options_.on_hog, worker_count());
  int quiet = 0;
  std::unique_lock guard(watch_lock_);
  while (!watch_stop_) {
    if (quiet >= kQuietPeriodsBeforeSleep) {
      watch_asleep_.store(true);
      // Looks once more now and then, because a worker may get busy by its own ring without being woken.
      watch_wake_.wait_for(guard, 20 * kWatchPeriod, [this] { return watch_stop_ || !watch_asleep_.load(); });
      watch_asleep_.store(false);
      quiet = kQuietPeriodsBeforeSleep - 1;
    } else {
      watch_wake_.wait_for(guard, kWatchPeriod, [this] { return watch_stop_; });
    }
    const std::int64_t now = now_ns();
    std::uint64_t all_switches = 0;
    bool any_awake = false;
    bool stuck = false;
    for (unsigned i = 0; i < worker_count(); ++i) {
      Worker& worker = *workers_[i];
      const std::uint64_t switches = worker.switches();
      worker.set_coarse_clock(now);
      all_switches += switches;
      any_awake = any_awake || !worker.asleep();
      if (switches == seen[i] && worker.current() != nullptr &&
          (worker.holds_back() || worker.has_woken() || worker.has_spawned() || classes_.has_any() ||
           worker.timers_.any_due(now_ns())))
        stuck = true;
      seen[i] = switches;
      look_for_hog(hogs, *workers_[i]);
    }
    quiet = any_awake ? 0 : quiet + 1;
    if (drowsy_.load(std::memory_order_relaxed)) {
      drowsy_.store(false, std::memory_order_relaxed);
      if (work_visible()) stuck = true;
    }
    if (stuck) notify_one();
    if (options_.deadlock_report.count() > 0 && !any_awake) {
      guard.unlock();
      look_for_deadlock(all_switches);
      guard.lock();
    }
  }
}

void Scheduler::look_for_hog(HogWatch& hogs, Worker& worker) {
  const FiberState* running = worker.current();
  const bool others_wait = work_visible() || worker.holds_back() || !worker.inbox_.empty() ||
                           worker.timers_.any_due(now_ns()) || classes_.has_for(worker.index());
  const auto name = [&](HogReport& report) {
    pool_->for_each([&](const FiberState& fiber) {
      if (&fiber != running) return;
      report.fiber = fiber.name;
      report.id = fiber.id;
    });
  };
  hogs.look({.worker = worker.index(),
             .thread = worker.thread.native_handle(),
             .switches = worker.switches(),
             .runs_fiber = running != nullptr,
             .others_wait = others_wait,
             .name = name},
            now_ns());
}

}  // namespace weft::sched
