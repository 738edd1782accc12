#include "sched/runtimes.h"

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <tuple>

#include "sched/saved_frame.h"
#include "sched/scheduler.h"

namespace weft::sched {
namespace {

constinit std::mutex listing;
constinit Scheduler* first_runtime = nullptr;  // guarded by listing; a debugger reads it as it is

}  // namespace

void list_runtime(Scheduler& scheduler) noexcept {
  const std::lock_guard guard(listing);
  scheduler.next_runtime_ = first_runtime;
  first_runtime = &scheduler;
}

void unlist_runtime(Scheduler& scheduler) noexcept {
  const std::lock_guard guard(listing);
  for (Scheduler** at = &first_runtime; *at != nullptr; at = &(*at)->next_runtime_) {
    if (*at != &scheduler) continue;
    *at = scheduler.next_runtime_;
    return;
  }
}

void hold_runtimes() noexcept { listing.lock(); }
void let_go_of_runtimes() noexcept { listing.unlock(); }

bool leave_runtimes_behind() noexcept {
  bool any = false;
  for (Scheduler* scheduler = first_runtime; scheduler != nullptr; scheduler = scheduler->next_runtime_)
    any |= scheduler->left_behind_ = !scheduler->options().simulated;
  listing.unlock();
  return any;
}

void for_each_runtime(FunctionRef<void(const Scheduler&)> visit) {
  const std::lock_guard guard(listing);
  for (const Scheduler* scheduler = first_runtime; scheduler != nullptr; scheduler = scheduler->next_runtime_)
    if (!scheduler->options().simulated && !scheduler->left_behind_) visit(*scheduler);
}

// Where a debugger finds things: pairs of a name's number in sched/weft-gdb.py and an offset would be more than is needed; both
// sides count the words of this struct, and `version` changes with them.
struct DebugLayout {
  std::uint64_t version = 1;
  Scheduler* const* first_runtime = nullptr;
  std::uint64_t scheduler_next = 0, scheduler_name = 0, scheduler_pool = 0, scheduler_workers = 0;
  std::uint64_t pool_slabs = 0, slab_next = 0, slab_fibers = 0, slab_fiber_count = 0, fiber_bytes = 0;
  std::uint64_t fiber_id = 0, fiber_name = 0, fiber_phase = 0, fiber_references = 0, fiber_reason = 0,
                fiber_waits_for = 0, fiber_stack_pointer = 0, fiber_spawned_by = 0;
  std::uint64_t worker_current = 0, worker_thread_id = 0;
  std::uint64_t saved_frame_pointer = 0, saved_pc = 0, saved_bytes = 0;
};

// Not all of these are of standard layout, so the standard leaves offsetof to the compiler; both of ours have it.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Winvalid-offsetof"
struct DebugLayoutMaker {
  static constexpr DebugLayout make() {
    return {.version = 1,
            .first_runtime = &first_runtime,
            .scheduler_next = offsetof(Scheduler, next_runtime_),
            .scheduler_name = offsetof(Scheduler, debug_name_),
            .scheduler_pool = offsetof(Scheduler, pool_),
            .scheduler_workers = offsetof(Scheduler, workers_),
            .pool_slabs = offsetof(FiberPool, slabs_),
            .slab_next = offsetof(FiberPool::Slab, next),
            .slab_fibers = offsetof(FiberPool::Slab, fibers),
            .slab_fiber_count = std::tuple_size_v<decltype(FiberPool::Slab::fibers)>,
            .fiber_bytes = sizeof(FiberState),
            .fiber_id = offsetof(FiberState, id),
            .fiber_name = offsetof(FiberState, name),
            .fiber_phase = offsetof(FiberState, phase),
            .fiber_references = offsetof(FiberState, references),
            .fiber_reason = offsetof(FiberState, wait_reason),
            .fiber_waits_for = offsetof(FiberState, waits_for),
            .fiber_stack_pointer = offsetof(FiberState, context) + offsetof(Context, machine_),
            .fiber_spawned_by = offsetof(FiberState, spawned_by),
            .worker_current = offsetof(Worker, current_),
            .worker_thread_id = offsetof(Worker, thread_id_),
            .saved_frame_pointer = kSavedFramePointerAt,
            .saved_pc = kSavedPcAt,
            .saved_bytes = kSavedFrameBytes};
  }
};
#pragma GCC diagnostic pop

}  // namespace weft::sched

// Visible, so that a debugger finds it also where a shared library's other names are stripped.
// NOLINTBEGIN(readability-identifier-naming): named as C names are
extern "C" __attribute__((visibility("default"))) const weft::sched::DebugLayout weft_sched_layout;
constinit const weft::sched::DebugLayout weft_sched_layout = weft::sched::DebugLayoutMaker::make();
// NOLINTEND(readability-identifier-naming)
